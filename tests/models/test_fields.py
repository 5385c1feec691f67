"""Secrets at rest."""

from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers import serialize
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from syncsvc.models import App, Repository
from syncsvc.models.fields import EndingSecret, Sealed
from syncsvc.store.statements import columns_of, fetch_one, row_of
from tests.factories import AppFactory, RepositoryFactory

pytestmark = pytest.mark.django_db
SECRET = "a-token-that-nobody-may-see"


def stored(column: str = "token", table: str = "syncsvc_repository") -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")  # noqa: S608 - constants
        return bytes(cursor.fetchone()[0])


def test_a_secret_is_stored_encrypted_and_read_back() -> None:
    RepositoryFactory(token=SECRET)

    assert SECRET.encode() not in stored()
    token = Repository.objects.get().token
    assert token is not None
    assert token.reveal() == SECRET


def test_the_same_secret_is_never_stored_the_same_way_twice() -> None:
    assert Sealed.seal(SECRET).token != Sealed.seal(SECRET).token


def test_a_sealed_secret_shows_nothing_of_itself() -> None:
    RepositoryFactory(token=SECRET, ssh_key=SECRET)
    repository, app = Repository.objects.get(), AppFactory()

    app.previous_secrets = [EndingSecret(Sealed.seal(SECRET), timezone.now())]
    shown = f"{repository.token} {repository.token!r} {vars(repository)} {serialize('json', [repository, app])}"
    shown += f"{vars(app)} {app.previous_secrets[0]}"
    assert SECRET not in shown
    assert app.secret.reveal() not in serialize("json", [App.objects.get()])


def test_no_secret_is_no_secret() -> None:
    RepositoryFactory()

    repository = Repository.objects.get()
    assert (repository.token, repository.ssh_key) == (None, None)


def test_an_app_without_a_secret_gets_one_of_its_own_when_it_is_saved() -> None:
    first, second = AppFactory(), AppFactory()

    assert first.secret.reveal().startswith("whsec_")
    assert first.secret.reveal() != second.secret.reveal()
    assert App.objects.get(id=first.id).secret.reveal() == first.secret.reveal()


def test_saving_a_row_again_keeps_its_secret() -> None:
    RepositoryFactory(token=SECRET)
    repository = Repository.objects.get()
    repository.name = "other"
    repository.save()

    token = Repository.objects.get().token
    assert token is not None
    assert token.reveal() == SECRET


def test_secrets_with_their_ends_are_stored_encrypted_and_read_back_however_they_are_read() -> None:
    before = [EndingSecret(Sealed.seal(SECRET), timezone.now() + timedelta(hours=n)) for n in (2, 1)]
    app = AppFactory(previous_secrets=before)

    assert SECRET.encode() not in stored("previous_secrets::text::bytea", "syncsvc_app")
    sql = f"SELECT {columns_of(App, 'a')} FROM syncsvc_app a WHERE id = %(id)s"  # noqa: S608 - constants
    row = fetch_one(sql, {"id": app.id})
    assert row is not None
    for read in (App.objects.get(), row_of(App, row)):
        assert [secret.until for secret in read.previous_secrets] == [secret.until for secret in before]
        assert [secret.sealed.reveal() for secret in read.previous_secrets] == [SECRET, SECRET]


def test_a_new_key_reads_what_the_old_one_wrote_until_it_is_rotated_and_then_without_the_old_one(
    settings: Settings,
) -> None:
    (old,) = settings.ENCRYPTION_KEYS
    new = Fernet.generate_key().decode()
    RepositoryFactory(token=SECRET)
    settings.ENCRYPTION_KEYS = [new, old]
    repository = Repository.objects.get()
    assert repository.token is not None
    assert repository.token.reveal() == SECRET

    repository.token = repository.token.rotated()
    repository.save()
    settings.ENCRYPTION_KEYS = [new]

    token = Repository.objects.get().token
    assert token is not None
    assert token.reveal() == SECRET


def test_what_no_key_reads_says_what_to_do_and_nothing_of_the_secret(settings: Settings) -> None:
    RepositoryFactory(token=SECRET)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    token = Repository.objects.get().token
    assert token is not None

    with pytest.raises(ImproperlyConfigured, match="put the key it was written with back"):
        token.reveal()


def test_without_a_key_nothing_is_stored_in_the_clear(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = []

    with pytest.raises(ImproperlyConfigured, match="ENCRYPTION_KEYS is empty"):
        RepositoryFactory(token=SECRET)
