"""What an app's old webhook URL had acknowledged, for the operator to see until it is re-synced or dismissed."""

import uuid

from django.db import transaction

from syncsvc.models import Subscription
from syncsvc.store.statements import execute

# Counts the files that the ledger has as acknowledged. Locks the subscriptions. Called when an app's URL changes, and
# by a run that notices the change: its last acknowledgements came from the old URL.
_NOTE = """
UPDATE syncsvc_subscription s SET old_url_files = (
  SELECT count(*) FROM syncsvc_deliveredfile f
  WHERE f.subscription_id = s.id AND f.blob IS NOT NULL AND f.epoch = s.epoch
)
WHERE """
_NOTE_ONE = f"{_NOTE} s.id = %(id)s"
_NOTE_APP = f"{_NOTE} s.app_id = %(app)s"


def note_old_url(subscription_id: uuid.UUID) -> None:
    execute(_NOTE_ONE, {"id": subscription_id})


def note_old_url_of_app(app_id: uuid.UUID) -> None:
    execute(_NOTE_APP, {"app": app_id})


@transaction.atomic
def dismiss_old_url_of_app(app_id: uuid.UUID) -> int:
    """The app has what it needs; how many subscriptions that was about."""
    noted = Subscription.objects.filter(app_id=app_id, old_url_files__gt=0)
    return noted.filter(id__in=noted.in_order()).update(old_url_files=0)
