"""An app's secret: exchanged while the old one still signs. It and tokens are shown to who had them made, once."""

import uuid
from datetime import timedelta

from django.contrib import messages
from django.db.models import F, Model
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.models import App
from syncsvc.models.fields import Sealed

OVERLAP = timedelta(hours=24)
SESSION_KEY = "secret_to_show"
SHOWN = 'The signing secret, shown this once: <code class="secret">{}</code> Copy it to the app now.'


def rotate(app_id: uuid.UUID, secret: str) -> None:
    """From now on this secret signs, and for 24 hours the one before too."""
    App.objects.filter(id=app_id).update(
        previous_secret=F("secret"), previous_secret_until=Now() + OVERLAP, secret=Sealed.seal(secret)
    )


def keep_to_show(request: HttpRequest, row: Model, secret: str) -> None:
    """Until the row's page is opened, encrypted: sessions lie in the database."""
    request.session[SESSION_KEY] = {str(row.pk): Sealed.seal(secret).token.decode()}


def show_once(request: HttpRequest, row_id: str, text: str = SHOWN) -> None:
    token = request.session.get(SESSION_KEY, {}).get(row_id)
    if token is None:
        return
    del request.session[SESSION_KEY]
    secret = Sealed(token.encode()).reveal()
    messages.warning(request, format_html(text, secret))
