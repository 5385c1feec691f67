"""Bulk work lets live runs of the machine pass, for a moment and no longer."""

import subprocess
import sys
import time

import pytest
from django.conf import settings as configured
from pytest_django import Settings

from syncsvc.sync.live_first import FILE, WAIT_SECONDS, let_live_runs_pass, live_run

HOLD = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_SH)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_folder(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings.MIRROR_DIR = tmp_path_factory.mktemp("mirrors")


def seconds() -> float:
    began = time.monotonic()
    let_live_runs_pass()
    return time.monotonic() - began


def test_it_waits_while_a_live_run_goes_on_but_not_for_long() -> None:
    assert seconds() < WAIT_SECONDS
    with live_run(), live_run():  # any number of them at a time
        assert WAIT_SECONDS <= seconds() < 10 * WAIT_SECONDS
    assert seconds() < WAIT_SECONDS


def test_one_of_another_process_counts_and_is_over_when_that_process_dies() -> None:
    file = configured.MIRROR_DIR / FILE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert seconds() >= WAIT_SECONDS

    process.kill()
    process.wait()
    process.stdout.close()
    assert seconds() < WAIT_SECONDS
