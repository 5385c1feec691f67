"""Apps that hang or crawl, and remotes that say nothing, however many they are, do not make the others wait."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.client import WELL, Client, Mood
from tests.acceptance.remote import Remote
from tests.acceptance.system import WORKERS, System, wait_for
from tests.receiver import Receiver

REPOSITORIES = 20
FILES = 30
HANGS_FOR = 2
# Sixteen requests at once. Without its own limit the hanging app's runs would take twenty times that, by four slots.
A_RUN_HANGS_FOR = 2 * HANGS_FOR


def test_a_hanging_app_with_twenty_repositories_makes_nobody_wait(system: System) -> None:
    """Its twenty runs time out one after the other in every slot that they get; the other app has one repository."""
    hanging, well = system.client("hanging"), system.client("well")
    theirs = [system.remote(f"theirs-{number}") for number in range(REPOSITORIES)]
    ours = system.remote("ours")
    for remote in (*theirs, ours):
        remote.fill(FILES)
    system.add([well], [ours], "--poll", "3600")
    system.wait_until_synced(ours)

    system.stop(*WORKERS)
    # An open circuit would take the point out of the test.
    system.start(
        "worker-1", WORKER_THREADS="4", WEBHOOK_TIMEOUT=str(HANGS_FOR), LEASE_SECONDS="6", CIRCUIT_THRESHOLD="100000"
    )
    hanging.mood = Mood(hangs=True)
    system.add([hanging], theirs, "--poll", "3600")
    wait_for(lambda: len(hanging.sent) >= FILES, "the hanging app is not sent anything")
    waited = []
    for text in ("second", "third", "fourth"):
        before = len(well.sent)
        ours.fill(FILES, text)
        began = time.monotonic()
        system.poll_now(ours)
        wait_for(lambda before=before: len(well.sent) == before + FILES, "the other app waits")  # type: ignore[misc]
        waited.append(time.monotonic() - began)
    assert sorted(waited)[1] < A_RUN_HANGS_FOR, f"the other app waited {waited} s"
    assert max(waited) < 2 * A_RUN_HANGS_FOR, f"the other app waited {waited} s"
    system.wait_until_synced(ours)

    hanging.mood = WELL
    system.wait_until_synced(*theirs)
    system.stop("worker-1")


THREADS = 4
PUSHES = 4
# A run needs two of these, one after the other.
SLOW_ANSWER = 3.0
SETTINGS = {
    "WORKER_THREADS": str(THREADS),
    "WEBHOOK_TIMEOUT": "4",
    "LEASE_SECONDS": "8",
    "GIT_LS_REMOTE_TIMEOUT": "4",
    "CIRCUIT_THRESHOLD": "100000",
}


@pytest.fixture
def well(system: System) -> Iterator[tuple[Client, Remote]]:
    """An app that has everything of its repository; one worker process with few threads."""
    client, remote = system.client(f"well-{len(system.clients)}"), system.remote(f"well-{len(system.clients)}")
    remote.fill(FILES)
    system.stop(*WORKERS)
    system.start("worker-1", **SETTINGS)
    system.add([client], [remote], "--poll", "3600")
    system.wait_until_synced(remote)
    yield client, remote
    system.stop("worker-1")
    system.query("UPDATE syncsvc_subscription SET is_active = false WHERE status <> 'syncing'")


def call(system: System, *commands: tuple[str, ...]) -> None:
    """Commands of manage.py, all in one process."""
    calls = f"from django.core.management import call_command\nfor c in {commands!r}: call_command(*c)"
    system.manage("shell", "--no-imports", "-c", calls)


def ended_while_it_waited(system: System, remote: Remote) -> int:
    """Runs of others that ended between the moment at which the newest run was asked for and its own begin."""
    ((count,),) = system.query(
        """SELECT count(other.id) FROM (
             SELECT s.id, s.asked_at, u.started_at FROM syncsvc_subscription s
             JOIN syncsvc_syncrun u ON u.subscription_id = s.id WHERE s.repository_id = %s
             ORDER BY u.started_at DESC LIMIT 1
           ) mine LEFT JOIN syncsvc_syncrun other ON other.subscription_id <> mine.id
             AND other.finished_at > mine.asked_at AND other.finished_at < mine.started_at""",
        remote.id,
    )
    return int(count)


def ended_apps(system: System) -> list[tuple[str]]:
    """The slow ones that have had a run: a worker that has not met an app lets it begin as any other."""
    return system.query(
        """SELECT DISTINCT a.name FROM syncsvc_syncrun u JOIN syncsvc_subscription s ON s.id = subscription_id
           JOIN syncsvc_app a ON a.id = s.app_id WHERE a.name LIKE 'slow-%%' AND u.outcome <> ''"""
    )


def push_and_wait(system: System, client: Client, remote: Remote) -> list[int]:
    """For each of some pushes, how many other runs had to end before its own began."""
    ended = []
    for number in range(PUSHES):
        before = len(client.sent)
        remote.fill(FILES, f"push {number} {time.monotonic()}")
        system.poll_now(remote)
        wait_for(lambda before=before: len(client.sent) == before + FILES, "the push waits")  # type: ignore[misc]
        ended.append(ended_while_it_waited(system, remote))
    return ended


def test_twelve_apps_that_take_their_time_make_nobody_wait(system: System, well: tuple[Client, Remote]) -> None:
    theirs = [system.remote(f"slow-{number}") for number in range(3)]
    for remote in theirs:
        remote.fill(FILES)
    with Receiver(lambda headers, body: (204, {}, b"", SLOW_ANSWER)) as receiver:
        apps = [f"slow-{number}" for number in range(12)]
        system.add([], theirs, "--poll", "3600")
        call(
            system,
            *(("app_add", app, receiver.url) for app in apps),
            *(("subscribe", app, remote.name) for app in apps for remote in theirs),
        )
        wait_for(lambda: len(ended_apps(system)) >= len(apps), "some slow apps get no turn", 60)

        ended = push_and_wait(system, *well)

        assert max(ended) < THREADS, f"it waited for {ended} runs of slow apps"
        for remote in theirs:
            wait_for(lambda remote=remote: not system.unsettled([remote]), "the slow ones are not served", 120)  # type: ignore[misc]


def test_sixty_remotes_that_say_nothing_make_nobody_wait(system: System, well: tuple[Client, Remote]) -> None:
    with socket.create_server(("0.0.0.0", 0), backlog=512) as listener, Receiver() as receiver:
        port, names = listener.getsockname()[1], [f"silent-{number}" for number in range(60)]
        call(
            system,
            ("app_add", "waits", receiver.url),
            *(("repository_add", f"git://127.0.0.{2 + n}:{port}/r", "--name", name) for n, name in enumerate(names)),
            *(("subscribe", "waits", name) for name in names),
        )
        wait_for(lambda: silent_runs(system) >= 1, "no silent remote is asked")

        ended = push_and_wait(system, *well)

        assert max(ended) < THREADS, f"it waited for {ended} runs of silent remotes"
        assert silent_runs(system) >= 1


def silent_runs(system: System) -> int:
    """Runs that wait for their remote now."""
    ((count,),) = system.query("SELECT count(*) FROM syncsvc_syncrun WHERE outcome = ''")
    return int(count)
