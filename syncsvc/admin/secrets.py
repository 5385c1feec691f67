"""An app's secret: exchanged while the old one still signs, and shown to the person who had it made, once."""

import uuid
from datetime import timedelta

from django.contrib import messages
from django.db.models import F
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.models import App
from syncsvc.models.fields import Sealed

OVERLAP = timedelta(hours=24)
SESSION_KEY = "secret_to_show"


def rotate(app_id: uuid.UUID, secret: str) -> None:
    """From now on this secret signs, and for 24 hours the one before too."""
    App.objects.filter(id=app_id).update(
        previous_secret=F("secret"), previous_secret_until=Now() + OVERLAP, secret=Sealed.seal(secret)
    )


def keep_to_show(request: HttpRequest, app: App, secret: str) -> None:
    """Until the app's page is opened, encrypted: sessions lie in the database."""
    request.session[SESSION_KEY] = {str(app.pk): Sealed.seal(secret).token.decode()}


def show_once(request: HttpRequest, app_id: str) -> None:
    token = request.session.get(SESSION_KEY, {}).get(app_id)
    if token is None:
        return
    del request.session[SESSION_KEY]
    secret = Sealed(token.encode()).reveal()
    text = 'The signing secret, shown this once: <code class="secret">{}</code> Copy it to the app now.'
    messages.warning(request, format_html(text, secret))
