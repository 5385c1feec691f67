"""Headers and certificates where an app's URL changes: another host gets them only where somebody says so."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation
from syncsvc.operations.apps import save_app
from syncsvc.operations.asker import Asker
from syncsvc.operations.authentication import AUTHENTICATION_NAMES, is_other_origin
from tests.delivery.authority import Authority
from tests.factories import AppFactory

pytestmark = pytest.mark.django_db

ASKER = Asker(name="a test", source=Operation.Source.COMMAND)
OLD = "https://old.example.com/hook"


@pytest.fixture
def app(tmp_path: Path) -> App:
    certificate, key = Authority(tmp_path).client()
    app: App = AppFactory(url=OLD, headers="X-Key: 1", client_certificate=certificate, client_key=key)
    return App.objects.get(pk=app.pk)


def move(app: App, url: str, *, keep: bool | None = None, **columns: Any) -> list[str]:
    for name, value in {"url": url, **columns}.items():
        setattr(app, name, value)
    return sorted(save_app(app, ASKER, changed=["url", *columns], keep_authentication=keep))


def stored() -> dict[str, Any]:
    app = App.objects.get()
    return {name: bool(getattr(app, name)) for name in AUTHENTICATION_NAMES}


@pytest.mark.parametrize(
    ("new", "is_other"),
    [
        (OLD, False),
        ("https://old.example.com/elsewhere?x=1", False),
        ("https://OLD.example.com:443/hook", False),
        ("https://old.example.com./hook", False),
        ("http://old.example.com/hook", True),
        ("https://old.example.com:8443/hook", True),
        ("https://new.example.com/hook", True),
        ("https://old.example.com.evil.example/hook", True),
        ("https://sub.old.example.com/hook", True),
        ("http://old.example.com:443/hook", True),
    ],
)
def test_scheme_host_and_port_make_the_origin(new: str, is_other: bool) -> None:
    assert is_other_origin(OLD, new) is is_other
    assert is_other_origin(new, OLD) is is_other


def test_at_another_path_everything_stays(app: App) -> None:
    assert move(app, "https://old.example.com/elsewhere") == []
    assert stored() == {"headers": True, "ca_certificate": False, "client_certificate": True, "client_key": True}


def test_at_another_host_somebody_must_say_what_becomes_of_them(app: App) -> None:
    with pytest.raises(Refused, match="headers, client certificate, client key") as refusal:
        move(app, "https://new.example.com/hook")
    assert refusal.value.kind == "confirm"
    assert App.objects.get().url == OLD


def test_they_are_forgotten_where_somebody_says_so(app: App) -> None:
    assert move(app, "https://new.example.com/hook", keep=False) == ["client_certificate", "client_key", "headers"]
    assert not any(stored().values())
    assert App.objects.get().url == "https://new.example.com/hook"


def test_they_stay_where_somebody_says_so(app: App) -> None:
    assert move(app, "https://new.example.com/hook", keep=True) == []
    assert stored()["headers"]
    assert stored()["client_key"]


def test_those_that_are_given_again_stay_and_the_others_are_asked_about(app: App) -> None:
    with pytest.raises(Refused, match="has client certificate, client key for"):
        move(app, "https://new.example.com/hook", headers="X-Key: 2")
    assert move(app, "https://new.example.com/hook", keep=False, headers="X-Key: 2") == [
        "client_certificate",
        "client_key",
    ]
    changed = App.objects.get()
    assert changed.headers is not None
    assert changed.headers.reveal() == "X-Key: 2"


def test_a_certificate_without_its_key_does_not_come_along(app: App, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    certificate, _ = Authority(tmp_path / "x").client()
    with pytest.raises(Refused, match="goes with its private key"):
        move(app, "https://new.example.com/hook", keep=False, client_certificate=certificate)
    assert App.objects.get().url == OLD


def test_an_app_without_any_is_asked_nothing() -> None:
    assert move(AppFactory(url=OLD), "https://new.example.com/hook") == []


def test_headers_for_the_old_url_are_not_stored_for_the_one_that_took_its_place(app: App) -> None:
    """Somebody else has moved the app between the reading and the saving."""
    App.objects.update(url="https://new.example.com/hook")
    app.headers = "X-Key: for the old one"
    with pytest.raises(Refused, match="changed the URL") as refusal:
        save_app(app, ASKER, changed=["headers"])
    assert refusal.value.kind == "conflict"
    kept = App.objects.get().headers
    assert kept is not None
    assert kept.reveal() == "X-Key: 1"


def test_the_end_of_a_client_certificate_is_noted_with_it(app: App, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert app.client_certificate_ends_at is not None
    app.client_certificate, app.client_key = Authority(tmp_path / "x").client(days=3)
    save_app(app, ASKER, changed=["client_certificate", "client_key"])
    renewed = App.objects.get().client_certificate_ends_at
    assert renewed is not None
    assert (renewed - timezone.now()).days == 2
    move(app, "https://new.example.com/", keep=False)
    assert App.objects.get().client_certificate_ends_at is None
