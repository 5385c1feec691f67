"""One signed `ping`: the console's *Send test*."""

from datetime import datetime

from syncsvc.delivery.answers import Answer
from syncsvc.delivery.payload import ping, timestamp_text
from syncsvc.models import App
from syncsvc.sync.one_message import send_message


def send_ping(app: App, at: datetime) -> Answer[None]:
    """Over a connection of its own. `at` is the database's time."""
    return send_message(app, ping(str(app.id), app.name, timestamp_text(at)), at)
