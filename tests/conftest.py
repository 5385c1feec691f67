"""Real servers for the tests: one PostgreSQL and one Valkey a session, in a temporary folder, gone at its end.

They start here, at import, because everything below reads its settings from the environment: pytest-django when it
configures itself, xdist's processes (which inherit the environment) when they start. The developer's own `.data` is
never used.
"""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django.conf
import pytest
from cryptography.fernet import Fernet

from syncsvc.management.embedded import Embedded
from syncsvc.management.supervisor import Supervisor

SERVERS = "SYNCSVC_TEST_SERVERS"  # set in the environment of every process that shares this session's servers

if django.conf.settings.configured:
    pytest.exit("Unset DJANGO_SETTINGS_MODULE: these tests bring their own servers, and must start before Django.", 2)


def _start_servers() -> None:
    folder = Path(tempfile.mkdtemp(prefix="syncsvc-tests-"))
    supervisor = Supervisor(run_dir=folder / "run", log_dir=folder / "log", say=print)

    def stop() -> None:
        supervisor.stop_all()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)  # also after Ctrl-C
    settings = Embedded(folder, supervisor=supervisor, environment={}, durable=False).start()
    os.environ[SERVERS] = str(folder)
    os.environ.update(
        SECRET_KEY="tests",
        ENCRYPTION_KEYS=Fernet.generate_key().decode(),
        # Tests make databases and break tables; whole systems of their own log in as the application's role.
        DATABASE_URL=settings["DATABASE_OWNER_URL"],
        REDIS_URL=settings["REDIS_URL"],
        DATA_DIR=str(folder / "data"),
        MIRROR_DIR=str(folder / "mirrors"),
        GIT_ALLOW_LOCAL="1",
        RESEND_DELAYS="0.01,0.02",
        THROTTLE_FIRST_SECONDS="0.02",
        THROTTLE_WAIT_SECONDS="0.1",
        WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8,::1/128",
        GIT_ALLOWED_NETWORKS="127.0.0.0/8,::1/128",
        GIT_ALLOWED_PORTS="*",
    )
    # A developer's git configuration and proxies are no part of a test.
    os.environ.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull, GIT_TERMINAL_PROMPT="0")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)


def _take_own_share() -> None:
    """A process of xdist has its own Redis database and mirrors, beside the database that pytest-django gives it."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].rpartition('/')[0]}/{number}"
        os.environ["MIRROR_DIR"] = str(Path(os.environ[SERVERS]) / f"mirrors-{worker}")


# Who runs the tests in the background of a shell has them inherit that Ctrl-C is ignored, and some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The processes that tests start share what the first one compiled, wherever the tests run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if SERVERS not in os.environ:
    _start_servers()
_take_own_share()
# Not before, and not left behind for xdist's processes: pytest-django would read the settings before this file.
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
assert os.environ["REDIS_URL"] == django.conf.settings.REDIS_URL
del os.environ["DJANGO_SETTINGS_MODULE"]
# The real one is slow on purpose: half a second for each test that makes a person. Processes of their own have it.
django.conf.settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Whole systems: minutes of starting and waiting, in which another process gets through everything else.
LONG = ("tests/acceptance/", "tests/management/test_demo.py", "tests/management/test_up.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After pytest-django's own order, which has to stay for what uses its database."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG) or item.get_closest_marker("django_db") is not None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`-n 2`: each begins with its half, and takes from the other's when it is through; files stay together."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


def pytest_collection_finish() -> None:
    gc.freeze()  # what is loaded by now is no garbage


@pytest.fixture(scope="session", autouse=True)
def _quick_emptying() -> Iterator[None]:
    from django.test import TransactionTestCase

    from tests.emptying import empty_database

    with pytest.MonkeyPatch.context() as django:
        django.setattr(TransactionTestCase, "_fixture_teardown", empty_database)
        yield
