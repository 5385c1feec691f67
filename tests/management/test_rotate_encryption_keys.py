"""rotate_encryption_keys: after it, the old key can go."""

from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from pytest_django import Settings

from syncsvc.delivery.signing import new_secret
from syncsvc.management.commands import rotate_encryption_keys
from syncsvc.models import App, Repository
from syncsvc.models.fields import EndingSecret, Sealed
from tests.factories import AppFactory, RepositoryFactory
from tests.management.conftest import Run


@pytest.fixture
def old_key(settings: Settings) -> str:
    key: str = settings.ENCRYPTION_KEYS[0]
    return key


def test_every_secret_is_readable_with_the_new_key_alone(
    run: Run, settings: Settings, old_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate_encryption_keys, "BATCH", 2)
    apps = AppFactory.create_batch(3)
    before = [EndingSecret(Sealed.seal(new_secret()), timezone.now() + timedelta(hours=n)) for n in (2, 1)]
    rotating = AppFactory.create(previous_secrets=before)
    signing = rotating.signing_secrets(timezone.now())
    repository = RepositoryFactory.create(token="a-token", ssh_key="a-key")
    RepositoryFactory.create()
    secrets = {app.id: app.secret.reveal() for app in apps}
    new_key = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new_key, old_key]
    done = run("rotate_encryption_keys", "--json")
    assert (done.code, done.json) == (0, {"reencrypted": 8, "unreadable": []})
    settings.ENCRYPTION_KEYS = [new_key]
    assert {app.id: app.secret.reveal() for app in App.objects.filter(id__in=secrets)} == secrets
    assert App.objects.get(id=rotating.id).signing_secrets(timezone.now()) == signing
    assert len(signing) == 3
    again = Repository.objects.get(id=repository.id)
    assert (again.token.reveal(), again.ssh_key.reveal()) == ("a-token", "a-key")


def test_what_no_key_reads_is_named_and_left_as_it_is(run: Run, settings: Settings, old_key: str) -> None:
    lost = AppFactory.create(name="lost")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    AppFactory.create(name="kept")
    done = run("rotate_encryption_keys", "--json")
    assert done.code == 1
    assert done.json == {
        "reencrypted": 1,
        "unreadable": [{"model": "app", "id": str(lost.id), "name": "lost", "field": "secret"}],
    }
    in_words = run("rotate_encryption_keys")
    assert in_words.code == 1
    assert "app lost: its secret cannot be read" in in_words.out
    settings.ENCRYPTION_KEYS = [old_key]
    assert App.objects.get(name="lost").secret.reveal() == lost.secret.reveal()
