"""Secrets and tokens that have just been made: shown once, to the user who asked for them."""

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html

from syncsvc.admin.parts import part_of
from syncsvc.models.fields import Sealed

SESSION_KEY = "secret_to_show"
SHOWN = 'The signing secret, shown this once: <code class="secret">{}</code> Copy it to the app now.'


def keep_to_show(request: HttpRequest, row: Model, secret: str) -> None:
    """Until the row's page is opened, encrypted: sessions lie in the database."""
    request.session[SESSION_KEY] = {str(row.pk): Sealed.seal(secret).token.decode()}


def show_once(request: HttpRequest, row_id: str, text: str = SHOWN) -> None:
    """On the whole page: a part shows no messages, and one that nobody has seen waits in a cookie, in the clear."""
    token = None if part_of(request) else request.session.get(SESSION_KEY, {}).get(row_id)
    if token is None:
        return
    del request.session[SESSION_KEY]
    secret = Sealed(token.encode()).reveal()
    messages.warning(request, format_html(text, secret))
