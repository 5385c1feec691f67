"""An app that has moved: what its old URL had acknowledged, until it is re-synced or dismissed."""

import uuid
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Q, Sum

from syncsvc.models import App, Subscription
from syncsvc.operations.apps import no_app
from syncsvc.operations.asker import Asker
from syncsvc.store.moves import dismiss_old_url_of_app
from syncsvc.words import counted


@dataclass(frozen=True, slots=True)
class OldUrl:
    """Files that the old URL had acknowledged and the new one does not have, and of how many subscriptions."""

    files: int
    subscriptions: int

    def __str__(self) -> str:
        return f"{counted(self.files, 'file')} of {counted(self.subscriptions, 'subscription')}"


def old_url_of(app_id: uuid.UUID) -> OldUrl:
    """Both are 0 where the app has not moved, and after a re-sync."""
    noted = Count("id", filter=Q(old_url_files__gt=0))
    found = Subscription.objects.filter(app_id=app_id).aggregate(files=Sum("old_url_files", default=0), noted=noted)
    return OldUrl(found["files"], found["noted"])


def dismiss_old_url(app_id: uuid.UUID, asker: Asker) -> OldUrl:
    """Says no more of what the old URL had; returns what was dismissed. Refused: `not_found`."""
    with transaction.atomic():
        app = App.objects.filter(id=app_id).first()
        if app is None:
            raise no_app(app_id)
        dismissed = old_url_of(app_id)
        if dismiss_old_url_of_app(app_id):
            asker.log(app, f"Dismissed what the old URL had: {dismissed}.")
    return dismissed
