"""An app's signing secret: exchanged for another while the one before still signs."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.delivery.signing import check_secret, new_secret
from syncsvc.exceptions import Refused
from syncsvc.models import App
from syncsvc.models.fields import Sealed
from syncsvc.operations.asker import Asker

OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Rotated:
    """The new secret, to be shown once, and until when the one before signs as well."""

    secret: str = field(repr=False)
    previous_valid_until: datetime


def rotate(app_id: uuid.UUID, asker: Asker, *, secret: str = "", force: bool = False) -> Rotated:
    """Signs with this secret, or with a new one, from now on; and with the present one too for 24 hours.

    Refused: `conflict` where the one before the present is still valid, since it would end at once; `force` ends it.
    Also where the secret is the present one. `invalid` where it is no secret; `not_found`.
    """
    secret = _checked(secret) if secret else new_secret()
    with transaction.atomic():
        app = App.objects.select_for_update(no_key=True).filter(id=app_id).first()
        if app is None:
            raise Refused("not_found", f"There is no app {app_id}.")
        if app.secret.reveal() == secret:
            raise Refused("conflict", f"{app.name} signs with this secret already; nothing was changed.")
        over = Q(previous_secret=None) | Q(previous_secret_until__lte=Now())
        changed = App.objects.filter(Q() if force else over, id=app_id).update(
            previous_secret=F("secret"), previous_secret_until=Now() + OVERLAP, secret=Sealed.seal(secret)
        )
        until = App.objects.values_list("previous_secret_until", flat=True).get(id=app_id)
        assert until is not None  # noqa: S101 - for the type: there is one by now
        if not changed:
            raise Refused("conflict", still_valid(app, until))
        asker.log(app, "Rotated the secret.")
        return Rotated(secret, until)


def previous_valid_until(app: App, at: datetime) -> datetime | None:
    """When the secret before the present one ends, where it still signs."""
    until = app.previous_secret_until
    return until if app.previous_secret is not None and until is not None and until > at else None


def still_valid(app: App, until: datetime) -> str:
    return (
        f"The secret of {app.name} was exchanged lately, and the one before is valid until {until:%Y-%m-%d %H:%M} UTC."
        " Another exchange would end that one at once. Wait until then, or force it."
    )


def _checked(secret: str) -> str:
    try:
        return check_secret(secret)
    except ValueError as error:
        raise Refused("invalid", str(error)) from None
