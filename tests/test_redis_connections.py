"""A Redis that answers and takes no writes is as good as away: nothing ends, everything says so, and it comes back."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cached_db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from pytest_django import Settings
from redis.exceptions import ReadOnlyError

from syncsvc.admin import kept
from syncsvc.api.rate import _count as count_call
from syncsvc.exceptions import Refused
from syncsvc.models import Operation
from syncsvc.operations.progress import progress, publish
from syncsvc.redis_connections import redis_at
from syncsvc.sync.health import alive, beat_seen, health, worker_seen
from syncsvc.sync.preview import _keep, ask_for_preview, known_preview
from syncsvc.sync.rate import Rate
from tests.factories import OperationFactory, SubscriptionFactory
from tests.valkey import REFUSALS, OwnValkey

WORDS = {
    "a replica": "replica",
    "a replica without its primary": "primary",
    "no memory left": "memory",
    "too few replicas": "few replicas",
    "another password": "password",
    "a user who may not write": "may not write",
}


@pytest.fixture(scope="module")
def one_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnValkey]:
    with OwnValkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


@pytest.fixture
def valkey(one_valkey: OwnValkey, settings: Settings) -> Iterator[OwnValkey]:
    """Takes writes, and stands where the settings look for Redis."""
    one_valkey.accept()
    with standing_for_redis(one_valkey, settings):
        yield one_valkey


@contextmanager
def standing_for_redis(valkey: OwnValkey, settings: Settings) -> Iterator[None]:
    before = settings.CACHES
    settings.REDIS_URL = valkey.url
    settings.CACHES = {name: {**cache, "LOCATION": valkey.url} for name, cache in before.items()}
    AxesProxyHandler.get_implementation(force=True)
    yield
    settings.CACHES = before
    AxesProxyHandler.get_implementation(force=True)


@pytest.fixture(params=REFUSALS)
def refused(request: pytest.FixtureRequest, valkey: OwnValkey) -> Iterator[str]:
    """Redis has just begun to refuse: clients have connections from before."""
    beat_seen()
    worker_seen("one@host")
    valkey.refuse(request.param)
    yield request.param
    valkey.accept()


def test_health_says_that_redis_takes_no_writes_and_why(refused: str, db: None) -> None:
    state = health()
    assert (state["database"], state["redis"]) == (True, False)
    assert "takes no writes" in state["redis_error"]
    assert WORDS[refused] in state["redis_error"]


def test_health_says_nothing_of_it_where_all_is_well(valkey: OwnValkey, db: None) -> None:
    beat_seen()
    worker_seen("one@host")
    assert health() == {"database": True, "redis": True, "scheduler": True, "workers": 1, "trouble": {}}


def test_readyz_is_not_ready_and_says_why(refused: str, db: None) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert WORDS[refused] in answer.json()["redis_error"]


def test_the_console_says_why(refused: str) -> None:
    seen = alive(["live.0", "bulk.0"])
    assert seen is not None
    assert WORDS[refused] in seen.refusal
    assert len(seen.messages) == 2


@pytest.mark.parametrize("page", ["/admin/", "/admin/queue/", "/admin/?part=now"])
@pytest.mark.django_db
def test_pages_of_the_console_work_and_say_why(refused: str, page: str, admin_client: Client) -> None:
    SubscriptionFactory()
    answer = admin_client.get(page, headers={"HX-Request": "true"} if "part" in page else {})
    assert answer.status_code == 200
    told = answer.text
    assert "takes no writes" in told
    assert WORDS[refused] in told
    assert "No worker" not in told


@pytest.mark.django_db
def test_operators_get_in_and_guessers_do_not(refused: str, settings: Settings, admin_user: User) -> None:
    settings.LOGIN_FAILURES = 3
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    admin_user.set_password("open sesame")
    admin_user.save()

    def log_in(password: str, address: str) -> int:
        form = {"username": admin_user.get_username(), "password": password}
        return Client().post("/admin/login/", form, REMOTE_ADDR=address).status_code

    guesser = f"198.51.100.{list(REFUSALS).index(refused)}"  # who has failed here waits on when Redis is back
    assert [log_in(f"guess {number}", guesser) for number in range(3)] == [200, 200, 429]
    assert log_in("open sesame", guesser) == 429
    assert log_in("open sesame", "192.0.2.2") == 302


@pytest.mark.django_db
def test_a_session_that_has_ended_lives_on_for_a_minute_at_most(refused: str, valkey: OwnValkey) -> None:
    """A replica still has the copy from before, and cannot delete it."""
    operator = User.objects.create_user("operator", is_staff=True)
    valkey.accept()
    client = Client()
    client.force_login(operator)
    assert client.get("/admin/").status_code == 200
    copies = list(valkey.redis.scan_iter("*session*"))
    assert [0 < valkey.redis.ttl(copy) <= 60 for copy in copies] == [True]
    cookies = client.cookies.copy()
    valkey.refuse(refused)
    client.post("/admin/logout/")
    assert not Session.objects.exists()

    valkey.accept()  # empty, as the minute leaves it
    client.cookies = cookies
    assert client.get("/admin/").status_code == 302


@pytest.mark.django_db
def test_a_session_that_was_changed_is_read_as_it_is_where_the_memory_is_full(valkey: OwnValkey) -> None:
    session = SessionStore()
    session["shown"] = "once"
    session.save()
    assert SessionStore(session.session_key)["shown"] == "once"
    valkey.refuse("no memory left")
    session["shown"] = "never again"
    session.save()
    assert SessionStore(session.session_key)["shown"] == "never again"


@pytest.mark.django_db(transaction=True)
def test_an_operations_progress_is_what_the_row_says(valkey: OwnValkey) -> None:
    """A replica has the hash from before, which nobody can write any more."""
    for how in REFUSALS:
        operation = OperationFactory(status="running", total=2, waiting=2)
        publish(operation.id)
        valkey.refuse(how)
        Operation.objects.filter(id=operation.id).update(waiting=1, succeeded=1, version=F("version") + 1)
        publish(operation.id)
        shown = progress(operation.id)
        assert shown is not None
        assert (shown["waiting"], shown["succeeded"]) == (1, 1), how
        valkey.accept()


@pytest.mark.django_db
def test_a_preview_is_refused_with_the_reason_also_where_an_old_one_is_left(valkey: OwnValkey) -> None:
    subscription = SubscriptionFactory()
    for how in REFUSALS:
        ask_for_preview(subscription)
        known = known_preview(subscription.id)
        assert known is not None
        _keep(subscription.id, replace(known, state="ready"))
        valkey.refuse(how)
        with pytest.raises(Refused, match=WORDS[how]):
            ask_for_preview(subscription)
        valkey.accept()


@pytest.mark.django_db
def test_the_command_status_says_why(refused: str, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("status")
    told = capsys.readouterr().out.lower()
    assert "takes no writes" in told
    assert WORDS[refused] in told


@pytest.mark.django_db(transaction=True)
def test_the_api_is_not_limited_where_nothing_can_be_counted(refused: str) -> None:
    assert count_call("api:someone:1") == 0


def test_processes_that_report_themselves_go_on(refused: str) -> None:
    beat_seen()
    worker_seen("one@host")


class Waker:
    """A process that wakes workers when it is told to."""

    def __init__(self, url: str) -> None:
        environment = os.environ | {"REDIS_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.waking"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wake(self) -> None:
        """Fails the test where the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("wake\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "went on\n"


def test_who_wakes_workers_goes_on_and_is_heard_when_it_takes_writes(valkey: OwnValkey) -> None:
    with Waker(valkey.url) as waker:
        waker.wake()
        assert valkey.redis.llen("live.0") == 1
        for how in REFUSALS:
            valkey.refuse(how)
            waker.wake()
            valkey.accept()
            assert valkey.redis.llen("live.0") == 0
            waker.wake()
            assert valkey.redis.llen("live.0") == 1, how


def test_who_wakes_workers_follows_a_fail_over(tmp_path: Path) -> None:
    """After a fail-over the old server keeps its connections, answers, and refuses."""
    with OwnValkey(tmp_path) as valkey, Waker(valkey.url) as waker:
        waker.wake()
        valkey.fail_over()
        waker.wake()
        waker.wake()
        assert valkey.redis.llen("live.0") == 1


def test_a_limit_by_agreement_is_kept_by_each_process(refused: str) -> None:
    rate = Rate()
    waits = [rate.take("acme", 10) for _ in range(10)]
    assert waits[0] == 0
    assert waits[-1] > 0


def test_caches_drop_what_cannot_be_written(refused: str) -> None:
    cache = caches["default"]
    cache.set("a", 1)
    assert cache.add("b", 1) is False
    assert cache.get("a", "nothing") == "nothing"
    assert cache.delete("a") is False
    assert "a" not in cache


def test_what_many_tabs_ask_for_is_made_for_each(refused: str) -> None:
    made: list[str] = []
    for _ in range(2):
        kept.kept("overview", lambda: made.append("x") or "text")  # type: ignore[func-returns-value]
    kept.keep("overview", "text")
    kept.forget("overview")
    assert len(made) == 2


def test_failed_logins_are_counted_on(valkey: OwnValkey) -> None:
    """Three before Redis refuses, and those after: nobody gets more tries than an outage would give."""
    for how in REFUSALS:
        logins = caches["logins"]
        for count in (1, 2, 3):
            assert (logins.add("known", 1) or logins.incr("known")) == (True if count == 1 else count)
        valkey.refuse(how)
        for _ in range(5):
            for key in ("known", "new"):
                if not logins.add(key, 1, timeout=900):
                    logins.incr(key)
                    logins.touch(key, timeout=900)
        assert logins.get("known", 0) >= 5, how
        assert logins.get("new", 0) == 5, how
        assert logins.delete("known") is True
        assert logins.delete("new") is True
        assert logins.get("new", 0) == 0
        valkey.accept()


def test_a_connection_to_a_replica_is_left_for_the_server_that_its_name_leads_to(
    tmp_path: Path, settings: Settings, db: None
) -> None:
    with OwnValkey(tmp_path) as valkey, standing_for_redis(valkey, settings):
        cache = caches["default"]
        cache.set("a", 1)
        rate = redis_at(valkey.url, timeout=0.5)
        rate.ping()
        beat_seen()
        assert health()["redis"] is True

        valkey.fail_over()

        assert health()["redis"] is False
        assert health()["redis"] is True
        cache.set("a", 2)
        cache.set("a", 3)
        assert cache.get("a") == 3
        with pytest.raises(ReadOnlyError):
            rate.set("a", 1)
        rate.set("a", 1)
