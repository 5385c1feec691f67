"""Bulk operations on the whole system, while everything that can die does: the numbers are true all the time."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psycopg
import pytest
from redis.exceptions import RedisError

from tests.acceptance.client import WELL, Client, Mood
from tests.acceptance.remote import Remote
from tests.acceptance.system import SCHEDULER, WORKERS, System, wait_for

APPS, REPOSITORIES = 4, 75
ITEMS = APPS * REPOSITORIES
SAMPLES = 1_000
# "Nothing stuck after two minutes", with settings that are a tenth of the usual.
SECONDS_TO_END = 60.0
ENDED = ("finished", "cancelled")
SUMS = """
SELECT o.status, o.total, ARRAY[o.waiting, o.running, o.succeeded, o.failed, o.skipped, o.cancelled],
  (SELECT ARRAY[count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status = 'running'),
     count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed'),
     count(*) FILTER (WHERE status = 'skipped'), count(*) FILTER (WHERE status = 'cancelled')]
   FROM syncsvc_operationitem WHERE operation_id = o.id)
FROM syncsvc_operation o
"""
COUNTS = ("waiting", "running", "succeeded", "failed", "skipped", "cancelled")


@pytest.fixture
def random() -> Random:
    seed = os.environ.get("CHAOS_SEED") or str(Random().randrange(10**6))
    print(f"CHAOS_SEED={seed} repeats this")
    return Random(seed)


class Sampler:
    """Looks at the rows and at Redis all the time; an outage is no wrong number."""

    def __init__(self, system: System) -> None:
        self.system, self.looks, self.redis_looks = system, 0, 0
        self.redis = system.redis
        self.wrong: list[object] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                with psycopg.connect(
                    self.system.settings["DATABASE_URL"], autocommit=True, connect_timeout=2
                ) as connection:
                    while not self.ended.wait(0.005):
                        self._look(connection)
            except psycopg.OperationalError:
                time.sleep(0.05)

    def _look(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        for status, total, counts, items in connection.execute(SUMS):
            assert isinstance(counts, list)
            if counts != items or sum(counts) != total or (sum(counts[:2]) == 0) != (status in ENDED):
                self.wrong.append((status, total, counts, items))
            self.looks += 1
        try:
            for key in self.redis.scan_iter("operation:*-????????????"):
                shown = {name.decode(): value.decode() for name, value in self.redis.hgetall(key).items()}
                if shown and sum(int(shown[name]) for name in COUNTS) != int(shown["total"]):
                    self.wrong.append(shown)
                self.redis_looks += 1
        except RedisError:
            pass


@contextmanager
def sampling(system: System) -> Iterator[Sampler]:
    sampler = Sampler(system)
    thread = threading.Thread(target=sampler.run)
    thread.start()
    try:
        yield sampler
    finally:
        sampler.ended.set()
        thread.join(20)
    assert sampler.wrong == []


def operation(system: System, id: str) -> dict[str, int | str]:
    ((status, *counts),) = system.query(
        """SELECT status, total, waiting, running, succeeded, failed, skipped, cancelled FROM syncsvc_operation
           WHERE id = %s""",
        id,
    )
    return {"status": status, **dict(zip(("total", *COUNTS), counts, strict=True))}


def start(system: System, kind: str) -> str:
    """In this one process, which is quicker than a command each."""
    said = system.manage("shell", "--no-imports", "-c", START.format(kind=kind))
    return said.split()[-1]


START = """
from syncsvc.models import Operation
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.scope import Scope
asker = Asker(name="chaos", source=Operation.Source.COMMAND)
print(bulk.start(Scope(kind=Operation.Kind.{kind}), asker, confirmed=True, max_running=24).id)
"""


def control(system: System, verb: str, id: str) -> None:
    assert operation(system, id)["status"] not in ENDED, "it was over too soon: the test has become pointless"
    system.manage("operation", id, f"--{verb}", "--json")


@pytest.fixture
def fleet(system: System) -> tuple[list[Client], list[Remote]]:
    """Every app follows every repository, and none has been told anything yet."""
    clients = [system.client(f"app-{number}") for number in range(APPS)]
    remotes = [system.remote(f"repository-{number}") for number in range(REPOSITORIES)]
    for remote in remotes:
        remote.fill(2)
    system.add(clients, [])
    system.add([], remotes, "--poll", "3600")
    system.manage("shell", "--no-imports", "-c", FOLLOW)
    return clients, remotes


# `subscribe`, three hundred times.
FOLLOW = """
from syncsvc.models import App, Repository, Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
repositories = Repository.objects.all()
Subscription.objects.bulk_create(Subscription(app=a, repository=r) for a in App.objects.all() for r in repositories)
ask_for_runs(Subscription.objects.all(), Trigger.SUBSCRIBED)
"""


def fail_all(system: System) -> None:
    """As if every subscription had failed, and tries again by itself only in an hour."""
    system.query(
        """UPDATE syncsvc_subscription SET status = 'failed', error_kind = 'endpoint_error', retry_count = 6,
             failed_at = now(), due_at = now() + interval '1 hour', queued_at = NULL, lease_token = NULL,
             lease_expires_at = NULL"""
    )


def test_the_numbers_are_true_whatever_dies(
    system: System, fleet: tuple[list[Client], list[Remote]], random: Random
) -> None:
    clients, remotes = fleet
    system.wait_until_synced(*remotes, seconds=120)
    for remote in remotes:
        remote.write({"file-00000": b"second"})
    fail_all(system)
    clients[0].mood = Mood(fails=0.2)
    clients[1].mood = Mood(loses=0.2, delay=0.2)
    clients[2].mood = clients[3].mood = Mood(delay=0.5)
    with sampling(system) as sampler:
        retry = start(system, "RETRY")
        began = time.monotonic()
        system.kill(random.choice(WORKERS))
        time.sleep(random.uniform(0.1, 0.5))
        system.redis.flushdb()
        system.heal()
        control(system, "pause", retry)
        system.kill(*WORKERS)
        start_postgres = system.stop_postgres()
        time.sleep(random.uniform(0.1, 0.5))
        start_postgres()
        system.heal()
        control(system, "resume", retry)
        cancelled = start(system, "RESYNC")
        system.kill(SCHEDULER)
        time.sleep(random.uniform(0.1, 1.0))
        control(system, "cancel", cancelled)
        system.kill(random.choice(WORKERS))
        system.redis.flushdb()
        system.heal()
        for client in clients:
            client.mood = WELL
        wait_for(
            lambda: all(operation(system, id)["status"] in ENDED for id in (retry, cancelled)),
            lambda: [operation(system, id) for id in (retry, cancelled)],
            SECONDS_TO_END,
        )
        print(f"{time.monotonic() - began:.1f} s", operation(system, retry), operation(system, cancelled))
        wait_for(lambda: sampler.looks >= SAMPLES, "not enough samples", 30)
    _outcomes_are_what_the_rows_say(system, retry)
    _outcomes_are_what_the_rows_say(system, cancelled)
    assert operation(system, cancelled)["status"] == "cancelled"

    system.wait_until_synced(*remotes, seconds=30)
    for remote in remotes:
        remote.write({"file-00001": b"third"})
    fail_all(system)
    last = start(system, "RETRY")
    wait_for(lambda: operation(system, last)["status"] in ENDED, lambda: operation(system, last), SECONDS_TO_END)
    _outcomes_are_what_the_rows_say(system, last)
    others = system.query(
        "SELECT DISTINCT status, reason FROM syncsvc_operationitem WHERE operation_id = %s AND status <> 'succeeded'",
        last,
    )
    # The first run of a repository finds its new commit, and asks for the runs of all that follow it.
    assert others in ([], [("skipped", "All is well: it was synced meanwhile.")])
    system.wait_until_synced(*remotes, seconds=30)


def _outcomes_are_what_the_rows_say(system: System, id: str) -> None:
    """An item that succeeded has a run that synced, whose files the app took; one that failed, a run that failed."""
    rows = system.query(
        """SELECT i.status, r.outcome, i.error_kind, r.error_kind, i.app_name, s.repository_id::text, r.to_commit,
             r.delivered
           FROM syncsvc_operationitem i LEFT JOIN syncsvc_syncrun r ON r.id = i.run_id
           JOIN syncsvc_subscription s ON s.id = i.subscription_id WHERE i.operation_id = %s""",
        id,
    )
    assert len(rows) == ITEMS
    taken = Counter((client.name, sent.repository, sent.commit) for client in system.clients for sent in client.taken())
    for status, outcome, kind, run_kind, app, repository, commit, delivered in rows:
        match status:
            case "succeeded":
                assert (outcome, kind) == ("synced", "")
                assert taken[app, repository, commit] >= delivered
            case "failed":
                assert outcome in ("failed", "postponed", "held")
                assert kind == run_kind
            case "cancelled" | "skipped":
                assert outcome is None
            case _:
                raise AssertionError(status)


def test_a_retry_right_after_redis_lost_everything_starts_within_requeue_after(system: System) -> None:
    client, remote = system.client("after"), system.remote("after")
    remote.fill(1)
    system.add([client], [remote], "--poll", "3600")
    system.wait_until_synced(remote)
    system.stop(*WORKERS)  # before there is a new commit, which a late poll would send
    remote.fill(1, "again")
    system.query("UPDATE syncsvc_subscription SET status = 'failed' WHERE id = %s", system.subscription(remote))
    before = len(client.sent)
    system.manage("retry", f"{client.name}/{remote.name}", "--json")
    system.redis.flushdb()
    asked = time.monotonic()
    system.heal()
    wait_for(lambda: len(client.sent) > before, "nothing was sent")
    assert time.monotonic() - asked < float(system.settings["REQUEUE_AFTER"]) + 5, "2 s, and the workers' start"
