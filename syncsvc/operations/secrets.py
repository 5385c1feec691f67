"""An app's signing secret: exchanged for another while those before still sign."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from syncsvc.delivery.signing import Signing, check_secret, new_secret, public_key, signing_of
from syncsvc.exceptions import Refused
from syncsvc.models import App
from syncsvc.models.fields import EndingSecret, Sealed
from syncsvc.operations.apps import no_app
from syncsvc.operations.asker import Asker
from syncsvc.store.clock import database_time

OVERLAP = timedelta(hours=24)
# Each secret is a signature in the header of every request.
SIGN_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Rotated:
    """The new secret, to be shown once; and the ends of those before it, newest first, which sign too until then.

    Of a key pair the public key is shown, as often as anybody likes, and the private one never.
    """

    secret: str = field(repr=False)
    ends: Sequence[datetime]

    @property
    def public_key(self) -> str:
        """Blank for a secret that both sides must have."""
        return public_key(self.secret)

    @property
    def signing(self) -> Signing:
        return signing_of(self.secret)

    @property
    def previous_valid_until(self) -> datetime:
        """End of the secret that was exchanged."""
        return self.ends[0]


def rotate(
    app_id: uuid.UUID, asker: Asker, *, secret: str = "", signing: Signing | None = None, force: bool = False
) -> Rotated:
    """Signs with this secret, or with a new one, from now on; and with the present one too for 24 hours.

    A new one signs as `signing` says; None: as the present one. Secrets from before the present one go on signing until
    their ends. Refused: `conflict` where one of these is still valid, unless `force`; where so many sign already that
    no request could have more; and where the secret is the present one. `invalid` where it is no secret; `not_found`.
    """
    secret = checked(secret, signing) if secret else ""
    with transaction.atomic():
        app, at = App.objects.select_for_update(no_key=True).filter(id=app_id).first(), database_time()
        if app is None:
            raise no_app(app_id)
        present = app.secret.reveal()
        secret = secret or new_secret(signing or signing_of(present))
        if present == secret:
            raise Refused("conflict", f"{app.name} signs with this secret already; nothing was changed.")
        valid = app.still_valid_secrets(at)
        if valid and not force:
            raise Refused("conflict", still_valid(app, valid))
        # A secret that comes back is the present one, and ends no more.
        before = [one for one in valid if one.sealed.reveal() != secret]
        if len(before) + 2 > SIGN_AT_ONCE:
            raise Refused("conflict", _too_many(app, valid[-1].until))
        app.previous_secrets = [EndingSecret(app.secret, at + OVERLAP), *before]
        app.secret = Sealed.seal(secret)
        app.save(update_fields=["secret", "previous_secrets"])
        asker.log(app, "Rotated the secret.")
    return Rotated(secret, [one.until for one in app.previous_secrets])


def still_valid(app: App, valid: Sequence[EndingSecret]) -> str:
    """The reason against another exchange now, with the last of the ends, which is that of the newest secret."""
    last = f"{valid[0].until:%Y-%m-%d %H:%M} UTC"
    return (
        f"The secret of {app.name} was exchanged lately, and {before_text(valid)} until {last}."
        " After another exchange all of them sign, each until its end. Wait until then, or force it."
    )


def before_text(valid: Sequence[EndingSecret]) -> str:
    """`the one before signs too`, `the 2 before sign too`."""
    return "the one before signs too" if len(valid) == 1 else f"the {len(valid)} before sign too"


def _too_many(app: App, next_end: datetime) -> str:
    return (
        f"{SIGN_AT_ONCE} secrets of {app.name} sign at once, and no request can have more signatures."
        f" Wait until {next_end:%Y-%m-%d %H:%M} UTC, when the oldest of them ends."
    )


def checked(secret: str, signing: Signing | None = None) -> str:
    """Refused where it is no secret, or none that signs as it should."""
    try:
        secret = check_secret(secret)
    except ValueError as error:
        raise Refused("invalid", str(error)) from None
    if signing is not None and signing_of(secret) is not signing:
        raise Refused(
            "invalid", f"This secret signs by {signing_of(secret)}, and {signing} was asked for; give one alone."
        )
    return secret
