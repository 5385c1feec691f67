"""`manage.py check --deploy` says what is unsafe, with an id and what to do, and nothing of what is safe."""

from pathlib import Path
from pprint import pformat
from typing import Any

import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.test import Client

from config.env import Env
from config.proxy import PROXY_SEEN

# Django asks the database whether it has generated columns.
pytestmark = pytest.mark.django_db

SAFE = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["console.example.com"],
    "HTTPS": True,
    "PROXIES": 1,
    "CSRF_TRUSTED_ORIGINS": ["https://console.example.com"],
    "SESSION_COOKIE_AGE": 43_200,
    "LOGIN_FAILURES": 10,
    "LOGIN_NAME_FAILURES": 20,
    "LOGIN_ADDRESS_FAILURES": 20,
    "LOGIN_WAIT_SECONDS": 900,
    "WEBHOOK_ALLOWED_NETWORKS": ["10.1.0.0/16", "fd00:1::/64"],
    "GIT_ALLOWED_NETWORKS": ["10.2.0.0/16"],
    "GIT_ALLOW_LOCAL": False,
}


def found(settings: Any, **values: Any) -> set[str]:
    for name, value in (SAFE | values).items():
        setattr(settings, name, value)
    messages = [m for m in run_checks(include_deployment_checks=True) if str(m.id).startswith("syncsvc.")]
    assert all(message.hint for message in messages)
    found = {str(message.id).removeprefix("syncsvc.") for message in messages}
    return found - {"W016"}  # the role of the tests is a superuser; tests/management/test_roles.py looks for it


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def test_safe_settings_are_not_complained_of(settings: Any) -> None:
    assert found(settings) == set()


def test_neither_are_those_of_make_up(settings: Any) -> None:
    local = ["127.0.0.1", "localhost", "[::1]"]
    assert found(settings, ALLOWED_HOSTS=local, HTTPS=False, PROXIES=0, CSRF_TRUSTED_ORIGINS=[]) == set()


WITHOUT_HTTPS = {"ALLOWED_HOSTS": ["127.0.0.1"], "HTTPS": False, "PROXIES": 0}


def test_a_proxy_that_changes_the_host_is_noticed_without_https(settings: Any) -> None:
    assert found(settings, **WITHOUT_HTTPS) == {"W002"}


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_a_proxy_that_requests_come_through_is_noticed(settings: Any, header: str) -> None:
    cache.delete(PROXY_SEEN)
    without = {**WITHOUT_HTTPS, "CSRF_TRUSTED_ORIGINS": []}
    assert found(settings, **without) == set()
    Client().get("/healthz", headers={header: "203.0.113.7"})
    assert found(settings, **without) == {"W002"}
    assert found(settings, **without | {"PROXIES": 1}) == set()
    cache.delete(PROXY_SEEN)


@pytest.mark.parametrize(
    ("values", "id"),
    [
        ({"DEBUG": True}, "E006"),
        ({"WEBHOOK_ALLOWED_NETWORKS": ["10.0.0.1/8"]}, "E003"),
        ({"GIT_ALLOWED_NETWORKS": ["inside"]}, "E003"),
        ({"GIT_ALLOWED_PORTS": ["22", "https"]}, "E013"),
        ({"NAT64_PREFIXES": ["64:ff9b::/90"]}, "E012"),
        ({"GIT_CA_FILE": "/nonexistent/ca.pem"}, "E010"),
        ({"GIT_CA_FILE": __file__}, "E010"),
        ({"EGRESS_PROXY": "proxy.example:4750"}, "E015"),
        ({"ALLOWED_HOSTS": ["*"]}, "E007"),
        ({"ALLOWED_HOSTS": [".example.com"]}, "E007"),
        ({"HTTPS": False}, "E008"),
        ({"GIT_ALLOW_LOCAL": True}, "W001"),
        ({"PROXIES": 0}, "W002"),
        ({"PROXIES": 0, "CSRF_TRUSTED_ORIGINS": []}, "W002"),
        ({"CSRF_TRUSTED_ORIGINS": ["http://console.example.com"]}, "W003"),
        ({"SESSION_COOKIE_AGE": 86_401}, "W004"),
        ({"LOGIN_FAILURES": 1_000}, "W005"),
        ({"LOGIN_NAME_FAILURES": 1_000}, "W005"),
        ({"LOGIN_ADDRESS_FAILURES": 1_000}, "W005"),
        ({"LOGIN_WAIT_SECONDS": 5}, "W005"),
        ({"WEBHOOK_ALLOWED_NETWORKS": ["0.0.0.0/0"]}, "W006"),
        ({"WEBHOOK_ALLOWED_NETWORKS": ["::/0"]}, "W006"),
        ({"WEBHOOK_ALLOWED_NETWORKS": ["169.254.0.0/16"]}, "W007"),
        ({"WEBHOOK_ALLOWED_NETWORKS": ["127.0.0.0/8"]}, "W008"),
        ({"GIT_ALLOWED_NETWORKS": ["0.0.0.0/0"]}, "W006"),
        ({"GIT_ALLOWED_NETWORKS": ["169.254.169.254/32"]}, "W007"),
        ({"GIT_ALLOWED_NETWORKS": ["::1/128"]}, "W008"),
    ],
)
def test_an_unsafe_setting_is_said(settings: Any, values: dict[str, Any], id: str) -> None:
    assert found(settings, **values) == {id}


def test_a_file_of_secrets_that_others_may_read_is_said(
    settings: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (data_dir / "env", data_dir / "key"):
        file.write_text("secret")
        file.chmod(0o600)
    monkeypatch.setenv("SECRET_KEY_FILE", str(data_dir / "key"))
    assert found(settings) == set()
    (data_dir / "key").chmod(0o640)
    assert found(settings) == {"W009"}
    (data_dir / "key").chmod(0o600)
    (data_dir / "env").chmod(0o604)
    assert found(settings) == {"W009"}


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_variable_that_nothing_obeys(settings: Any, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://proxy.example:3128")
    assert found(settings) == {"W015"}
    assert found(settings, EGRESS_PROXY="http://proxy.example:4750") == set()


def test_a_login_at_the_proxy_is_in_no_dump_of_settings(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGRESS_PROXY", "http://user:geheim@proxy.example:4750")
    value = Env().secret("EGRESS_PROXY")
    assert value == "http://user:geheim@proxy.example:4750"
    assert "geheim" not in f"{value!r} {pformat({'EGRESS_PROXY': value})}"
    settings.EGRESS_PROXY = "ftp://user:geheim@proxy.example:4750"
    assert not any("geheim" in str(message) for message in run_checks())


@pytest.mark.parametrize("blank", [True, False])
def test_a_blank_variable_does_not_hide_the_file_of_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank: bool
) -> None:
    """docker-compose.yml has a blank one: webhooks and git would go directly, past the proxy that the file names."""
    file = tmp_path / "proxy"
    file.write_text("http://proxy.example:4750\n")
    monkeypatch.setenv("EGRESS_PROXY_FILE", str(file))
    if blank:
        monkeypatch.setenv("EGRESS_PROXY", "")
    assert Env().secret("EGRESS_PROXY") == "http://proxy.example:4750"
    monkeypatch.setenv("EGRESS_PROXY", "http://another.example:4750")
    assert Env().secret("EGRESS_PROXY") == "http://another.example:4750"
