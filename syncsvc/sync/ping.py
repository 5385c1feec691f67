"""One signed `ping`: the console's *Send test*, and a run's question whether the endpoint answers at all."""

import uuid
from datetime import datetime

from django.conf import settings

from syncsvc.delivery import payload
from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.answers import Answer
from syncsvc.delivery.once import send_once
from syncsvc.models import App
from syncsvc.sync.transports import USER_AGENT


def send_ping(app: App, at: datetime) -> Answer[None]:
    """Over a connection of its own. `at` is the database's time."""
    return send_once(
        url=app.url,
        secrets=app.signing_secrets(at),
        webhook_id=str(uuid.uuid4()),
        timestamp=int(at.timestamp()),
        body=payload.ping(str(app.id), app.name, payload.timestamp_text(at)),
        addresses=AddressPolicy(settings.WEBHOOK_ALLOWED_NETWORKS),
        timeout=app.request_timeout,
        connect_timeout=settings.WEBHOOK_CONNECT_TIMEOUT,
        user_agent=USER_AGENT,
    )
