"""Servers that go away, processes that end: nothing is lost, nothing is stuck, next to nothing is sent twice."""

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from celery import Celery

from tests.acceptance.client import WELL, Client, Mood
from tests.acceptance.remote import Remote
from tests.acceptance.system import SCHEDULER, WORKERS, System, wait_for

FILES = 400
# With 16 requests at once, a run of all files takes a second or two.
SLOW = Mood(delay=0.05)
IN_FLIGHT = 16
LEASE_SECONDS = 6


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With time enough that, on a busy machine, only what a test does itself ends a request or a lease."""
    folder = tmp_path_factory.mktemp("system")
    with System(folder, LEASE_SECONDS=str(LEASE_SECONDS), WEBHOOK_TIMEOUT="3") as system:
        yield system


@pytest.fixture(scope="module")
def client(system: System) -> Client:
    return system.client("acme")


@pytest.fixture
def remote(system: System, client: Client, request: pytest.FixtureRequest) -> Iterator[Remote]:
    """A repository of the test's own, that the app has whole; all processes run."""
    remote = system.remote(request.node.name)
    remote.fill(FILES)
    system.add([client], [remote], "--poll", "3600")
    system.wait_until_synced(remote)
    yield remote
    client.mood = WELL
    system.heal()


def in_mid_run(system: System, client: Client, remote: Remote, text: str = "second") -> int:
    """Commits a change of every file and returns when a quarter has arrived; where the client's `sent` stood before."""
    client.mood = SLOW
    before = len(client.sent)
    remote.fill(FILES, text)
    system.poll_now(remote)
    wait_for(lambda: len(client.sent) >= before + FILES // 4, "no run begins")
    return before


def test_a_flushed_redis_in_mid_run_is_not_noticed(system: System, client: Client, remote: Remote) -> None:
    before = in_mid_run(system, client, remote)
    system.redis.flushall()
    system.wait_until_synced(remote)
    assert len(client.sent) == before + FILES


def test_wake_ups_that_were_flushed_are_sent_again(system: System, client: Client, remote: Remote) -> None:
    system.stop(*WORKERS)
    remote.fill(FILES, "second")
    system.due_now(remote)
    wait_for(lambda: system.redis.llen("live.0"), "no wake-up is queued")
    system.redis.flushall()
    system.restart(*WORKERS)
    system.poll_now(remote)
    system.wait_until_synced(remote)


def test_valkey_may_be_away_for_seconds(system: System, client: Client, remote: Remote) -> None:
    before = in_mid_run(system, client, remote)
    start_valkey = system.kill_valkey()
    time.sleep(3)
    wait_for(lambda: not system.unsettled([remote]), "a run ends without Redis")
    assert len(client.sent) == before + FILES
    remote.fill(FILES, "third")
    system.poll_now(remote)
    time.sleep(0.5)
    start_valkey()
    system.wait_until_synced(remote)


def test_valkey_may_be_a_replica_for_seconds(system: System, client: Client, remote: Remote) -> None:
    """As after a fail-over: it answers, and takes no writes. No process ends, and each works when it takes them."""
    before = in_mid_run(system, client, remote)
    system.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    wait_for(lambda: not system.unsettled([remote]), "a run ends without wake-ups")
    assert len(client.sent) == before + FILES
    remote.fill(FILES, "third")
    system.poll_now(remote)
    time.sleep(3)
    assert "TAKES NO WRITES" in system.manage("status")
    assert [system.child(name).poll() for name in (*WORKERS, SCHEDULER)] == [None, None, None]
    system.redis.execute_command("REPLICAOF", "NO", "ONE")
    system.wait_until_synced(remote)
    assert [system.child(name).poll() for name in (*WORKERS, SCHEDULER)] == [None, None, None]
    assert "redis answers" in system.manage("status")


def test_postgres_may_crash_for_longer_than_a_lease(system: System, client: Client, remote: Remote) -> None:
    """What was sent and could not be recorded goes out again with the same ids."""
    before = in_mid_run(system, client, remote)
    start_postgres = system.stop_postgres()
    time.sleep(LEASE_SECONDS + 1)
    start_postgres()
    system.wait_until_synced(remote)
    assert len({sent.webhook_id for sent in client.sent[before:]}) == FILES
    remote.fill(FILES, "third")
    system.poll_now(remote)
    system.wait_until_synced(remote)


def test_postgres_may_crash_for_less_than_a_lease(system: System, client: Client, remote: Remote) -> None:
    """The run waits for it, and sends nothing twice."""
    system.stop(*WORKERS)
    system.start("worker-1", LEASE_SECONDS="30", WEBHOOK_TIMEOUT="10")
    before, runs = in_mid_run(system, client, remote), len(system.runs(remote))
    start_postgres = system.stop_postgres()
    time.sleep(1)
    start_postgres()
    system.wait_until_synced(remote)
    system.stop("worker-1")
    assert len(client.sent) == before + FILES
    assert len(system.runs(remote)) == runs


def test_many_wake_ups_make_one_run(system: System, client: Client, remote: Remote) -> None:
    before, runs = in_mid_run(system, client, remote), len(system.runs(remote))
    broker = Celery(broker=system.settings["REDIS_URL"])
    with broker.connection() as connection:
        for _ in range(20):
            broker.send_task(
                "syncsvc.run_subscription", args=[system.subscription(remote)], queue="live.0", connection=connection
            )
    system.wait_until_synced(remote)
    wait_for(lambda: not system.redis.llen("live.0"), "wake-ups stay queued")
    assert len(system.runs(remote)) == runs
    assert len(client.sent) == before + FILES


def test_a_scheduler_that_was_away_catches_up(system: System, client: Client, remote: Remote) -> None:
    system.kill(SCHEDULER)
    system.due_now(remote)
    time.sleep(1)
    assert system.unsettled([remote])
    system.restart(SCHEDULER)
    system.wait_until_synced(remote)


def test_two_schedulers_do_no_harm(system: System, client: Client, remote: Remote) -> None:
    system.start("scheduler-2")
    before, runs = in_mid_run(system, client, remote), len(system.runs(remote))
    system.wait_until_synced(remote)
    system.stop("scheduler-2")
    assert len(system.runs(remote)) == runs
    assert len(client.sent) == before + FILES


def test_a_lease_ends_while_redis_is_away(system: System, client: Client, remote: Remote) -> None:
    """Also by a scheduler that was started meanwhile."""
    in_mid_run(system, client, remote)
    system.kill(*WORKERS)
    start_valkey = system.kill_valkey()
    system.start(SCHEDULER)
    waiting = "SELECT 1 FROM syncsvc_subscription WHERE id = %s AND status = 'pending'"
    wait_for(lambda: system.query(waiting, system.subscription(remote)), "the dead worker's lease stays")
    start_valkey()
    system.restart(*WORKERS)
    system.wait_until_synced(remote)


def test_a_worker_that_is_asked_to_end_hands_its_run_on(system: System, client: Client, remote: Remote) -> None:
    system.stop(*WORKERS)
    for name in WORKERS:
        system.start(name, LEASE_SECONDS="300")
    before = in_mid_run(system, client, remote)
    (worker,) = {worker for outcome, worker, _ in system.runs(remote) if not outcome}
    name = worker.partition("@")[0]
    child, asked = system.child(name), time.monotonic()
    os.kill(child.pid, signal.SIGTERM)
    wait_for(lambda: child.poll() is not None, "the worker does not end")
    assert child.poll() == 0
    assert time.monotonic() - asked < 15
    # The other worker goes on at once, not after the lease.
    system.wait_until_synced(remote)
    system.stop(*WORKERS)
    outcomes = [outcome for outcome, _, _ in system.runs(remote)]
    assert outcomes[-2:] == ["interrupted", "synced"]
    assert len(client.sent) - before <= FILES + IN_FLIGHT
    assert client.repeats(before) == 0


def test_a_worker_whose_git_hangs_ends_in_time_and_hands_its_run_on(system: System, client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, and never answers
        remote = system.remote("hangs")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hangs.git"
        system.stop(*WORKERS)
        system.start("worker-1", STOP_SECONDS="1", LEASE_SECONDS="300")
        system.add([client], [remote], "--poll", "3600", url=url)
        wait_for(lambda: system.runs(remote), "no run begins")
        child, asked = system.child("worker-1"), time.monotonic()
        os.kill(child.pid, signal.SIGTERM)
        wait_for(lambda: child.poll() is not None, "the worker does not end")
        assert child.poll() == 0
        assert time.monotonic() - asked < 15
        assert system.query("SELECT status FROM syncsvc_subscription WHERE id = %s", system.subscription(remote)) == [
            ("pending",)
        ], "its lease stays"
    system.query("UPDATE syncsvc_repository SET url = %s WHERE id = %s", remote.url, remote.id)
    remote.fill(FILES)
    system.heal()
    system.wait_until_synced(remote)


def test_a_killed_workers_run_goes_on_with_the_same_ids(system: System, client: Client, remote: Remote) -> None:
    before = in_mid_run(system, client, remote)
    system.kill(*WORKERS)
    system.restart(*WORKERS)
    system.wait_until_synced(remote)
    assert len({sent.webhook_id for sent in client.sent[before:]}) == FILES
    assert client.repeats(before) <= FILES // 2 + IN_FLIGHT
