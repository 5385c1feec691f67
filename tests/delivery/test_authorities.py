"""What webhooks trust, as docs/configuration.md says it."""

import ssl
from pathlib import Path

import pytest
from django.core.checks import run_checks

from syncsvc.checks import OURS
from syncsvc.delivery.authorities import trusted_authorities
from syncsvc.types import ErrorKind
from tests.delivery.asking import ask
from tests.delivery.authority import Authority
from tests.receiver import Receiver


def test_an_authority_of_ones_own_is_trusted_by_ssl_cert_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with Receiver(tls=authority.server()) as receiver:
        assert ask(receiver.url).status == 204


def test_ssl_cert_file_takes_the_place_of_the_systems_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.file))
    with Receiver(tls=Authority(tmp_path).server()) as receiver:
        answer = ask(receiver.url)
    assert answer.error_kind is ErrorKind.ENDPOINT_TLS
    assert "SSL_CERT_FILE" in answer.error


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_systems_authorities_are_trusted(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", value)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trusted_authorities())
    assert len(context.get_ca_certs()) > 50


@pytest.mark.parametrize("name", ["absent.pem", "."])
def test_a_file_that_cannot_be_read_stops_the_start(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    assert [message.id for message in run_checks(tags=[OURS])] == ["syncsvc.E011"]


def test_a_file_without_certificates_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle.pem").write_text("a bundle\n", encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    assert [message.id for message in run_checks(tags=[OURS])] == ["syncsvc.E011"]
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path).file))
    assert run_checks(tags=[OURS]) == []
