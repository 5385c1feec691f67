"""One signed message to an app over a connection of its own: a question, or news of a failure."""

import uuid
from datetime import datetime

from django.conf import settings

from syncsvc.delivery.answers import Answer
from syncsvc.delivery.once import send_once
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.models import App
from syncsvc.sync.proxy import egress_proxy
from syncsvc.sync.transports import USER_AGENT


def send_message(app: App, body: bytes, at: datetime) -> Answer[None]:
    """Sends the body in one try, with a webhook id of its own. `at` is the database's time."""
    return send_once(
        url=app.url,
        secrets=app.signing_secrets(at),
        webhook_id=str(uuid.uuid4()),
        timestamp=int(at.timestamp()),
        body=body,
        addresses=AddressPolicy(settings.WEBHOOK_ALLOWED_NETWORKS, settings.NAT64_PREFIXES),
        timeout=app.request_timeout,
        connect_timeout=settings.WEBHOOK_CONNECT_TIMEOUT,
        user_agent=USER_AGENT,
        proxy=egress_proxy(),
        headers=app.header_lines(),
        tls=app.tls_terms(),
    )
