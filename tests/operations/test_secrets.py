"""Exchanging a secret: the one before signs for a day, and none ends without being forced."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from syncsvc.delivery.signing import new_secret
from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation
from syncsvc.operations.asker import Asker
from syncsvc.operations.secrets import previous_valid_until, rotate
from tests.factories import AppFactory, UserFactory
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
    assert rotated.previous_valid_until == app.previous_secret_until
    assert rotated.secret not in repr(rotated)
    entry = LogEntry.objects.get()
    assert "Rotated" in entry.change_message
    assert rotated.secret not in entry.change_message


def test_a_second_exchange_meanwhile_is_a_conflict_unless_forced() -> None:
    app = AppFactory()
    first = rotate(app.pk, ASKER).secret
    before = signing(app)

    assert refused(app) == "conflict"
    assert signing(app) == before

    forced = rotate(app.pk, ASKER, force=True).secret
    assert signing(app) == [forced, first]


def test_when_the_one_before_has_ended_nothing_is_in_the_way() -> None:
    app = AppFactory()
    first = rotate(app.pk, ASKER).secret
    App.objects.update(previous_secret_until=timezone.now() - timedelta(seconds=1))
    app.refresh_from_db()
    assert previous_valid_until(app, timezone.now()) is None
    assert signing(app) == [first]
    second = rotate(app.pk, ASKER).secret
    assert signing(app) == [second, first]


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
