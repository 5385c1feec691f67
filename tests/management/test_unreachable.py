"""What a command says before it can do anything."""

import json
import os
import subprocess
import sys

import pytest

from syncsvc.management.stack import BASE_DIR


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("POLL_SECONDS", "often", "POLL_SECONDS is 'often', which is no number."),
        ("WEB_PORT", "70000", "WEB_PORT is 70000; it must be at most 65535."),
        ("WEBHOOK_TIMEOUT", "nan", "WEBHOOK_TIMEOUT is nan; it must be"),
        ("REDIS_URL_FILE", "/nonexistent", "REDIS_URL_FILE names a file that cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_read_is_told_in_one_line(name: str, value: str, told: str) -> None:
    done = _manage("up", **{name: value})
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_script_is_told_of_a_bad_setting_as_a_document() -> None:
    done = _manage("status", "--json", POLL_SECONDS="often")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["kind"] == "invalid"


def _manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
    inherited = {name: value for name, value in os.environ.items() if f"{name}_FILE" not in environment}
    return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=False, timeout=60)
