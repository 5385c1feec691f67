"""The button "Test": one signed `ping`, and what the endpoint answered."""

import time
import uuid

from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc import __version__
from syncsvc.delivery import payload
from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.answers import Answer
from syncsvc.delivery.once import send_once
from syncsvc.models import App

ANSWER_BYTES = 1024


def send_ping(app: App) -> Answer[None]:
    """Outside of any run: neither counted by the circuit nor written to the log of attempts."""
    return send_once(
        url=app.url,
        secrets=app.signing_secrets(timezone.now()),
        webhook_id=str(uuid.uuid4()),
        timestamp=int(time.time()),
        body=payload.ping(str(app.id), app.name, payload.timestamp_now()),
        addresses=AddressPolicy(settings.WEBHOOK_ALLOWED_NETWORKS),
        timeout=settings.WEBHOOK_TIMEOUT,
        connect_timeout=settings.WEBHOOK_CONNECT_TIMEOUT,
        user_agent=f"syncsvc/{__version__}",
    )


def describe(answer: Answer[None]) -> SafeString:
    """For a person: status, milliseconds, and the beginning of the answer's body."""
    milliseconds = round(answer.seconds * 1000)
    if answer.error_kind is None:
        said = f"The endpoint answered {answer.status} in {milliseconds} ms."
    else:
        said = f"{answer.error} ({answer.error_kind}, {milliseconds} ms)"
    body = answer.body[:ANSWER_BYTES].decode(errors="backslashreplace")
    return format_html('{}<pre class="block">{}</pre>', said, body) if body else format_html("{}", said)
