"""The compose file: its commands exist, its secrets are asked for, and its database is set up as the embedded one."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connection

from config.alive import seen_lately
from syncsvc import production
from syncsvc.management.postgres import SETTINGS
from syncsvc.management.stack import BASE_DIR, MOST_WORKERS, web_command
from syncsvc.redis_connections import redis_at
from syncsvc.sync.health import beat_seen, worker_seen

COMPOSE: dict[str, Any] = yaml.safe_load((BASE_DIR / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (BASE_DIR / "Dockerfile").read_text()


def test_the_services_are_those_of_up() -> None:
    assert SERVICES.keys() == {"postgres", "redis", "migrate", "web", "worker", "scheduler"}


@pytest.mark.parametrize("name", ["migrate", "web", "worker", "scheduler"])
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    python, manage, command, *_ = SERVICES[name]["command"]
    assert (python, manage) == ("python", "manage.py")
    result = subprocess.run(
        [sys.executable, str(BASE_DIR / manage), command, "--help"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_image_starts_the_web_server_as_its_service_does() -> None:
    command = re.findall(r'"([^"]+)"', DOCKERFILE[DOCKERFILE.rindex("CMD [") :])
    assert command == SERVICES["web"]["command"]
    assert command[2] == web_command(8000)[2]


def test_the_image_copies_what_exists_and_runs_as_nobody_special() -> None:
    for source in re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE):
        assert (BASE_DIR / source).exists(), source
    assert DOCKERFILE.index("USER 10001:10001") < DOCKERFILE.rindex("CMD [")
    assert "--require-hashes" in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_right_it_does_not_need_and_a_bound(name: str) -> None:
    """A new service is held to it as well."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"] == {"core": 0}
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"} & service.keys()
    uid, _, gid = service["user"].partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 4096
    assert all("size=" in tmpfs for tmpfs in service["tmpfs"])
    assert set(service["networks"]) <= {"servers", "outside"}
    # What is mounted is a volume: nothing of the host, and above all not Docker's socket.
    sources = [str(volume).partition(":")[0] for volume in service.get("volumes", ())]
    assert all(source in COMPOSE["volumes"] or source.startswith("/var/lib/syncsvc") for source in sources)


def test_each_service_that_goes_on_tells_whether_it_is_well() -> None:
    for name, service in SERVICES.items():
        if service["restart"] == "no":
            continue
        assert service["restart"] == "unless-stopped"
        check = service.get("healthcheck", {"test": "of the image"})
        assert check.get("test"), name
    assert "HEALTHCHECK" in DOCKERFILE


def test_only_the_console_can_be_reached_and_servers_reach_nothing() -> None:
    assert COMPOSE["networks"]["servers"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"web"}
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["web"]["ports"])
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert outside == {"web", "worker"}


def test_secrets_come_by_file_and_each_service_has_those_it_needs() -> None:
    secrets = {"SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"}
    for name, service in SERVICES.items():
        environment = service["environment"] if name != "redis" else {}
        assert not secrets & environment.keys(), name
        assert not [setting for setting in environment if re.search("PASSWORD$|SECRET$", setting)], name
        files = {Path(value).name for setting, value in environment.items() if setting.endswith("_FILE")}
        assert files <= set(service["secrets"]) <= COMPOSE["secrets"].keys(), name
    assert [name for name, service in SERVICES.items() if "database_owner_url" in service["secrets"]] == ["migrate"]
    assert COMPOSE["secrets"] == {name: {"file": f"secrets/{name}"} for name in COMPOSE["secrets"]}


@pytest.mark.parametrize("setting", sorted(production.SECRETS))
def test_every_secret_setting_is_read_from_a_file(setting: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("postgresql://u:from-a-file@h/d\n")
    code = f"from config import settings; print(str(getattr(settings, {setting!r})))"
    env = {name: value for name, value in os.environ.items() if name not in production.SECRETS}
    env |= {f"{setting}_FILE": str(tmp_path / "secret"), "DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, env=env, capture_output=True, text=True)
    assert "from-a-file" in done.stdout, done.stderr


def made(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in (folder / "secrets").iterdir()}


@pytest.fixture
def make_secrets(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    script = tmp_path / "scripts" / "compose-env"
    script.parent.mkdir()
    script.write_bytes((BASE_DIR / "scripts" / "compose-env").read_bytes())
    script.chmod(0o755)
    return lambda: subprocess.run([script], capture_output=True, text=True, check=False)


def test_secrets_are_made_once_and_for_the_owner_alone(
    tmp_path: Path, make_secrets: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    assert make_secrets().returncode == 0
    first = made(tmp_path)
    assert first.keys() == COMPOSE["secrets"].keys()
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    # Read by a container's user, whose number is another one.
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o444}
    assert first["postgres_password"] in first["database_owner_url"]
    assert first["postgres_password"] not in first["database_url"]
    assert first["redis_password"] in first["redis_url"]
    Fernet(first["encryption_keys"])
    again = make_secrets()
    assert again.returncode == 1
    assert "Not replaced" in again.stderr
    assert made(tmp_path) == first


def test_secrets_of_an_earlier_version_are_moved(
    tmp_path: Path, make_secrets: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    old = {"SECRET_KEY": "s=", "ENCRYPTION_KEYS": "new=,old=", "POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r"}
    (tmp_path / ".env").write_text("".join(f"{k}={v}\n" for k, v in (old | {"HTTPS": "1"}).items()))
    assert make_secrets().returncode == 0
    found = made(tmp_path)
    names = ("secret_key", "encryption_keys", "postgres_password", "redis_password")
    assert [found[name] for name in names] == list(old.values())
    assert (tmp_path / ".env").read_text() == "HTTPS=1\n"


# Stands for Docker, which asks the registry.
DOCKER = """#!/bin/sh
case $4 in
redis*) echo "$REDIS_DIGEST" ;;
*) echo sha256:%s ;;
esac
""" % ("a" * 64)


@pytest.mark.parametrize(("digest", "code"), [("sha256:" + "b" * 64, 0), ("", 1), ("latest", 1)])
def test_images_are_pinned_by_digest_or_not_at_all(tmp_path: Path, digest: str, code: int) -> None:
    for name, text in (("scripts/pin-images", (BASE_DIR / "scripts/pin-images").read_text()), ("docker", DOCKER)):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / ".env").write_text("HTTPS=1\nREDIS_IMAGE=old\n")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_DIGEST": digest}
    done = subprocess.run([tmp_path / "scripts/pin-images"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    text = (tmp_path / ".env").read_text()
    if code:
        assert text == "HTTPS=1\nREDIS_IMAGE=old\n"
    else:
        assert f"POSTGRES_IMAGE=postgres:18@sha256:{'a' * 64}" in text
        assert f"REDIS_IMAGE=redis:8@{digest}\n" in text
        assert text.startswith("HTTPS=1\n")
        assert "old" not in text


def test_every_image_can_be_pinned() -> None:
    script = (BASE_DIR / "scripts/pin-images").read_text()
    compose = (BASE_DIR / "docker-compose.yml").read_text()
    for setting, image in re.findall(r"\$\{(\w+_IMAGE):-([\w.:-]+)\}", compose):
        assert f"pin {setting} {image}" in script
    assert {service["image"] for service in SERVICES.values()} == {
        *("${POSTGRES_IMAGE:-postgres:18}", "${REDIS_IMAGE:-redis:8}", "syncsvc")
    }
    assert DOCKERFILE.count("FROM ") == DOCKERFILE.count("FROM ${PYTHON_IMAGE}") == 1


@pytest.mark.parametrize(
    ("who", "beats", "well"),
    [
        ("worker", lambda: worker_seen(f"worker@{socket.gethostname()}"), True),
        ("worker", lambda: worker_seen("worker@another"), False),
        ("scheduler", beat_seen, True),
        ("scheduler", lambda: None, False),
    ],
)
def test_a_container_that_was_not_seen_lately_is_not_well(who: str, beats: Callable[[], None], well: bool) -> None:
    redis_at(settings.REDIS_URL).flushdb()
    beats()
    assert seen_lately(who) is well


def test_nothing_is_held_against_a_container_while_redis_is_away(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert seen_lately("worker")
    assert seen_lately("scheduler")


def test_the_database_is_set_up_as_the_embedded_one() -> None:
    given = dict(option.removeprefix("-c").split("=", 1) for option in SERVICES["postgres"]["command"][1:])
    assert given == {name: value for name, value in SETTINGS.items() if name in given}


def test_what_holds_state_has_a_volume_and_workers_share_none() -> None:
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in COMPOSE["volumes"]
    assert SERVICES["worker"]["volumes"] == ["/var/lib/syncsvc"]
    assert SERVICES["worker"]["environment"]["SPOOL_DIR"].startswith("/var/lib/syncsvc/")
    assert re.search(r"--mode=0700 \\\n\s+/var/lib/syncsvc /var/lib/syncsvc/mirrors /var/lib/syncsvc/spool", DOCKERFILE)


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_servers_tell_whether_they_are_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert "ports" not in SERVICES[name]


def test_postgres_has_a_connection_for_all_that_the_processes_of_a_big_machine_may_hold() -> None:
    # Runs and their recorders in both rooms, polls, and the threads that look after leases, slots, polls and changes.
    worker = 5 * settings.WORKER_THREADS + 8
    assert worker <= int(connection.settings_dict["OPTIONS"]["pool"]["max_size"])
    others = 4 * int(connection.settings_dict["OPTIONS"]["pool"]["max_size"])  # web, scheduler, commands
    assert MOST_WORKERS * worker + others <= int(SETTINGS["max_connections"])
