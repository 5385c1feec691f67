"""Changing an app: its columns, and what follows from another endpoint or another state."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from syncsvc.error_kinds import ENDPOINT_KINDS
from syncsvc.exceptions import Refused
from syncsvc.models import App, Subscription
from syncsvc.operations import pausing
from syncsvc.operations.asker import Asker
from syncsvc.operations.authentication import AUTHENTICATION_NAMES, before_saving
from syncsvc.operations.due import make_due
from syncsvc.operations.removal import still_there
from syncsvc.store import circuits, throttles
from syncsvc.store.moves import note_old_url_of_app


@dataclass(frozen=True, slots=True)
class ProfileColumn:
    """A column of App that an operator sets. `help` says to people what it limits or decides.

    `none` says what holds where the column is null; blank where it is never null.
    """

    name: str
    help: str
    metavar: str = "N"
    none: str = ""

    def help_with_none(self, typed: str) -> str:
        """With what holds where this is typed for null."""
        return f"{self.help} {typed}: {self.none}" if self.none else self.help


# The console's form and the options of `app_add` and `app_change` are made of these.
PROFILE = (
    ProfileColumn("max_batch", "Changed files that travel in one request; 1 sends each by itself."),
    ProfileColumn("max_in_flight", "Requests that each worker process keeps open to this app."),
    ProfileColumn("max_per_second", "Requests a second over all workers together.", none="no limit"),
    ProfileColumn("timeout", "Seconds that a request may take.", metavar="SECONDS", none="the setting WEBHOOK_TIMEOUT"),
)
PROFILE_NAMES = tuple(column.name for column in PROFILE)


def no_app(app_id: UUID) -> Refused:
    return Refused("not_found", f"There is no app {app_id}; somebody may have deleted it.")


def save_app(
    app: App, asker: Asker, *, changed: Collection[str], keep_authentication: bool | None = None
) -> Collection[str]:
    """Writes these fields of an app that has been validated, and no other: workers move its circuit meanwhile.

    Another URL is another endpoint: the circuit, the failures in a row and the wait that was asked for were the other
    one's, and each subscription that failed there is due within seconds. The numbers of files that the old one
    acknowledged are noted, until a re-sync or until somebody dismisses them. Other headers or certificates make due
    what failed, and close the circuit.

    At another scheme, host or port headers and certificates that are not among the changed stay only with
    `keep_authentication`; returns those that went. Refused: `not_found` where somebody has deleted the app meanwhile;
    `confirm` where there are some and nobody said whether they stay.
    """
    rows = App.objects.filter(pk=app.pk)
    with still_there(app), transaction.atomic():
        if moves := bool({"url", *AUTHENTICATION_NAMES} & set(changed)):
            # All of them, and before the app: whatever locks several does, and a delete of the app too.
            Subscription.objects.filter(app=app).in_order()
            make_due(Subscription.objects.filter(app=app, error_kind__in=ENDPOINT_KINDS))
        if "is_active" in changed:
            change = pausing.resume if app.is_active else pausing.pause
            change(rows, asker)
        dropped = before_saving(app, rows, changed, keep=keep_authentication) if moves else ()
        if columns := {*changed, *dropped} - {"is_active"}:
            app.save(update_fields=columns)
        if moves:
            circuits.endpoint_answered(app.pk)
        if "url" in changed:
            throttles.forget(app.pk)
            note_old_url_of_app(app.pk)
    return dropped
