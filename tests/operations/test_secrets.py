"""Exchanging a secret: the one before signs for a day, and none ends without being forced."""

from datetime import timedelta

import pytest
from django.utils import timezone

from syncsvc.delivery.signing import Signing, new_secret
from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation
from syncsvc.models.fields import EndingSecret, Sealed
from syncsvc.operations.asker import Asker
from syncsvc.operations.secrets import SIGN_AT_ONCE, rotate
from tests.factories import AppFactory, UserFactory, deeds
from tests.operations.fleet import ASKER, in_threads

pytestmark = pytest.mark.django_db


def signing(app: App) -> list[str]:
    return App.objects.get(pk=app.pk).signing_secrets(timezone.now())


def refused(app: App, **options: object) -> str:
    with pytest.raises(Refused) as refusal:
        rotate(app.pk, ASKER, **options)  # type: ignore[arg-type]
    assert "whsec_" not in str(refusal.value) or refusal.value.kind == "invalid"
    return refusal.value.kind


def test_the_secret_before_signs_for_a_day() -> None:
    app = AppFactory()
    before = app.secret.reveal()
    asker = Asker(name="ann", source=Operation.Source.CONSOLE, user=UserFactory())

    rotated = rotate(app.pk, asker)

    assert signing(app) == [rotated.secret, before]
    app.refresh_from_db()
    assert app.signing_secrets(timezone.now() + timedelta(hours=25)) == [rotated.secret]
    assert [rotated.previous_valid_until] == [secret.until for secret in app.previous_secrets]
    assert rotated.secret not in repr(rotated)
    entry = deeds().get()
    assert "Rotated" in entry.text
    assert rotated.secret not in entry.text


def test_a_second_exchange_meanwhile_is_a_conflict_unless_forced_and_then_all_sign() -> None:
    app = AppFactory()
    made = app.secret.reveal()
    first = rotate(app.pk, ASKER)
    before = signing(app)

    assert refused(app) == "conflict"
    assert signing(app) == before

    second = rotate(app.pk, ASKER, force=True)
    assert signing(app) == [second.secret, first.secret, made]
    assert list(second.ends) == sorted(second.ends, reverse=True)
    assert second.ends[1] == first.previous_valid_until, "the end of one before stays what it was"
    app.refresh_from_db()
    assert app.signing_secrets(first.previous_valid_until) == [second.secret, first.secret]
    assert app.signing_secrets(second.previous_valid_until) == [second.secret]


def test_those_that_have_ended_are_dropped() -> None:
    now, app = timezone.now(), AppFactory()
    ended, valid = new_secret(), new_secret()
    before = [
        EndingSecret(Sealed.seal(valid), now + timedelta(hours=1)),
        EndingSecret(Sealed.seal(ended), now - timedelta(seconds=1)),
    ]
    App.objects.update(previous_secrets=before)
    assert signing(app) == [app.secret.reveal(), valid]

    rotate(app.pk, ASKER, force=True)

    app.refresh_from_db()
    assert [secret.sealed.reveal() for secret in app.previous_secrets] == [signing(app)[1], valid]


def test_when_all_before_have_ended_nothing_is_in_the_way() -> None:
    app = AppFactory()
    first = rotate(app.pk, ASKER).secret
    over = [EndingSecret(app.secret, timezone.now() - timedelta(seconds=1))]
    App.objects.update(previous_secrets=over)
    assert signing(app) == [first]
    second = rotate(app.pk, ASKER).secret
    assert signing(app) == [second, first]


def test_a_secret_that_comes_back_signs_once() -> None:
    app = AppFactory()
    made = app.secret.reveal()
    first = rotate(app.pk, ASKER).secret
    rotate(app.pk, ASKER, secret=made, force=True)
    assert signing(app) == [made, first]


def test_a_request_has_no_more_signatures_than_fit() -> None:
    app = AppFactory()
    for _ in range(SIGN_AT_ONCE - 1):
        rotate(app.pk, ASKER, force=True)
    before = signing(app)
    assert len(before) == SIGN_AT_ONCE
    assert refused(app, force=True) == "conflict"
    assert signing(app) == before


def test_a_secret_that_is_brought_along_is_checked() -> None:
    app, mine = AppFactory(), new_secret()
    assert refused(app, secret="whsec_short") == "invalid"
    assert rotate(app.pk, ASKER, secret=f" {mine}\n").secret == mine
    assert refused(app, secret=mine, force=True) == "conflict"
    assert len(signing(app)) == 2


def test_an_app_that_is_gone_is_not_found() -> None:
    app = AppFactory()
    App.objects.filter(pk=app.pk).delete()
    assert refused(app) == "not_found"


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_exchanges_it() -> None:
    app = AppFactory()

    def act(_: int) -> str:
        try:
            return rotate(app.pk, ASKER).secret
        except Refused:
            return ""

    done = [secret for secret in in_threads(act, 8) if secret]
    assert len(done) == 1
    assert signing(app) == [done[0], app.secret.reveal()]


def test_an_app_changes_to_a_key_pair_and_stays_with_it() -> None:
    app = AppFactory()
    before = app.secret.reveal()

    first = rotate(app.pk, ASKER, signing=Signing.ED25519)

    assert first.secret.startswith("whsk_")
    assert first.public_key.startswith("whpk_")
    assert signing(app) == [first.secret, before], "both sign until the end of the one before"
    second = rotate(app.pk, ASKER, force=True)
    assert second.signing is Signing.ED25519
    assert second.public_key != first.public_key
    third = rotate(app.pk, ASKER, force=True, signing=Signing.HMAC_SHA256)
    assert (third.signing, third.public_key) == (Signing.HMAC_SHA256, "")
    shown = App.objects.get().signers(timezone.now())
    assert [one.public_key for one in shown] == ["", second.public_key, first.public_key, ""]
    assert [one.until is None for one in shown] == [True, False, False, False]
    assert all("whsk_" not in repr(each) for each in (first, second, shown))


def test_a_secret_that_signs_in_another_way_than_was_asked_for_is_refused() -> None:
    app = AppFactory()
    with pytest.raises(Refused, match=r"signs by hmac-sha256, and ed25519 was asked for") as refusal:
        rotate(app.pk, ASKER, secret=new_secret(), signing=Signing.ED25519)
    assert refusal.value.kind == "invalid"
    assert len(signing(app)) == 1
