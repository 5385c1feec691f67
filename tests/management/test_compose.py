"""The compose file: its commands exist, its secrets are asked for, and its database is set up as the embedded one."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.db import connection

from syncsvc.management.postgres import SETTINGS
from syncsvc.management.stack import BASE_DIR, MOST_WORKERS, web_command

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
    assert DOCKERFILE.index("USER syncsvc") < DOCKERFILE.rindex("CMD [")
    assert "--require-hashes" in DOCKERFILE


@pytest.mark.parametrize("secret", ["SECRET_KEY", "ENCRYPTION_KEYS", "POSTGRES_PASSWORD", "REDIS_PASSWORD"])
def test_a_missing_secret_is_named_with_what_makes_it(secret: str) -> None:
    text = (BASE_DIR / "docker-compose.yml").read_text()
    uses = re.findall(rf"\$\{{{secret}(\S*)", text)
    assert uses
    assert all(use.startswith(":?") for use in uses)
    assert secret in (BASE_DIR / "scripts" / "compose-env").read_text()


def test_secrets_are_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "compose-env"
    script.parent.mkdir()
    script.write_bytes((BASE_DIR / "scripts" / "compose-env").read_bytes())
    script.chmod(0o755)
    assert subprocess.run([script], check=False).returncode == 0
    made = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    again = subprocess.run([script], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "Not replaced" in again.stderr
    assert (tmp_path / ".env").read_text() == made


def test_the_database_is_set_up_as_the_embedded_one() -> None:
    given = dict(option.removeprefix("-c").split("=", 1) for option in SERVICES["postgres"]["command"][1:])
    assert given == {name: value for name, value in SETTINGS.items() if name in given}


def test_what_holds_state_has_a_volume_and_workers_share_none() -> None:
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in COMPOSE["volumes"]
    assert SERVICES["worker"]["volumes"] == ["/var/lib/syncsvc/mirrors"]


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
