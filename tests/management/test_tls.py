"""PostgreSQL and Redis over TLS: commands, workers and pages connect to who has the right certificate, and no other."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from django.core.cache import caches
from pytest_django import Settings

from syncsvc.redis_connections import redis_at, refusal
from syncsvc.sync.health import redis_state
from tests.delivery.authority import Authority
from tests.management.test_celery import Worker
from tests.management.test_process import wait_for
from tests.management.test_roles import Server
from tests.tls_relay import TlsRelay
from tests.valkey import OwnValkey

ELSEWHERE = "elsewhere.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), name="Another")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = Server(tmp_path_factory.mktemp("tls"))
    database.start()
    yield database
    database.supervisor.stop_all()


def in_front_of(database: Server, authority: Authority, name: str = "127.0.0.1") -> TlsRelay:
    port = urlsplit(database.settings["DATABASE_URL"]).port
    assert port is not None
    return TlsRelay(port, authority.server(name), postgres=True)


def urls(database: Server, relay: TlsRelay, trusted: Authority) -> dict[str, str]:
    port = urlsplit(database.settings["DATABASE_URL"]).port
    tls = f"?sslmode=verify-full&sslrootcert={trusted.file}"
    names = ("DATABASE_URL", "DATABASE_OWNER_URL")
    return {name: database.settings[name].replace(f":{port}/", f":{relay.port}/") + tls for name in names}


def migrate(database: Server, relay: TlsRelay, trusted: Authority) -> subprocess.CompletedProcess[str]:
    return database.manage("migrate", "--verbosity=0", **urls(database, relay, trusted))


def test_migrations_and_commands_connect_to_a_database_with_the_right_certificate(
    database: Server, authority: Authority
) -> None:
    with in_front_of(database, authority) as relay:
        done = migrate(database, relay, authority)
        assert done.returncode == 0, done.stderr
        before = relay.connections
        assert before > 0
        asked = database.manage("showmigrations", "sessions", **urls(database, relay, authority))
        assert "[X] 0001_initial" in asked.stdout, asked.stderr
        assert relay.connections > before


@pytest.mark.parametrize(("name", "told"), [("127.0.0.1", "certificate verify failed"), (ELSEWHERE, "does not match")])
def test_a_database_with_another_certificate_is_refused_and_said(
    database: Server, authority: Authority, other: Authority, name: str, told: str
) -> None:
    with in_front_of(database, authority, name) as relay:
        refused = migrate(database, relay, other if name == "127.0.0.1" else authority)
    assert refused.returncode == 2
    assert told in refused.stderr.splitlines()[-1]


def test_what_is_no_option_of_tls_is_refused_in_words(database: Server) -> None:
    url = database.settings["DATABASE_URL"] + "?options=-cfsync%3Doff"
    refused = database.manage("migrate", DATABASE_URL=url)
    assert refused.returncode == 2
    assert "DATABASE_URL has 'options' behind its `?`" in refused.stderr


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnValkey]:
    with OwnValkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


def tls(valkey: OwnValkey, authority: Authority, name: str = "127.0.0.1") -> TlsRelay:
    port = urlsplit(valkey.url).port
    assert port is not None
    return TlsRelay(port, authority.server(name))


def url_of(relay: TlsRelay, trusted: Authority | None = None) -> str:
    return f"rediss://:test@127.0.0.1:{relay.port}/0" + (f"?ssl_ca_certs={trusted.file}" if trusted else "")


def test_clients_of_redis_take_the_right_certificate_and_say_what_is_wrong_with_another(
    valkey: OwnValkey, authority: Authority, other: Authority
) -> None:
    with tls(valkey, authority) as relay, tls(valkey, authority, ELSEWHERE) as elsewhere:
        assert redis_at(url_of(relay, authority)).ping()
        for wrong in (url_of(relay), url_of(relay, other), url_of(elsewhere, authority)):
            with pytest.raises(redis.RedisError) as refused:
                redis_at(wrong).ping()
            assert "its certificate is not trusted" in refusal(refused.value)


def test_health_says_that_redis_is_not_trusted(valkey: OwnValkey, authority: Authority, settings: Settings) -> None:
    with tls(valkey, authority) as relay:
        settings.REDIS_URL = url_of(relay)
        assert "its certificate is not trusted" in redis_state().trouble
        settings.REDIS_URL = url_of(relay, authority)
        assert redis_state().trouble == ""
        settings.CACHES = {name: {**cache, "LOCATION": settings.REDIS_URL} for name, cache in settings.CACHES.items()}
        caches["default"].set("over-tls", 1)
        assert caches["default"].get("over-tls") == 1


def test_workers_take_messages_over_tls_from_the_right_server_alone(
    valkey: OwnValkey, authority: Authority, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    with tls(valkey, authority) as relay:
        with Worker(url_of(relay, authority), notes) as worker:
            worker.does("over TLS")
        # Without an authority of one's own the system's count. Celery by itself would have taken any certificate.
        with Worker(url_of(relay), notes) as worker:
            wait_for(lambda: "CERTIFICATE_VERIFY_FAILED" in notes.with_suffix(".log").read_text(), 60)
            assert worker.process.poll() is None
