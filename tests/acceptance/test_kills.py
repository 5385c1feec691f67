"""kill -9 at random points, commit after commit: each time the apps end up with exactly what git has."""

import os
import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.acceptance.client import WELL, Client, Mood
from tests.acceptance.remote import Remote
from tests.acceptance.system import SCHEDULER, WORKERS, System

ROUNDS = int(os.environ.get("KILL_ROUNDS", "30"))
ROUNDS_A_CHECKPOINT = 3
FIRST_FILES = 120
MOST_CHANGES = 80
# What a kill can leave unrecorded in each run: a group, the one that is being written, and what is in flight.
UNRECORDED = 2 * 200 + 16
MOODS = (WELL, WELL, WELL, Mood(delay=0.03), Mood(delay=0.03), Mood(fails=0.3), Mood(resets=0.2), Mood(loses=0.3))


@pytest.fixture
def random() -> Random:
    seed = os.environ.get("KILL_SEED") or str(Random().randrange(10**6))
    print(f"KILL_SEED={seed} repeats these kills")
    return Random(seed)


@pytest.fixture
def clients(system: System) -> Iterator[list[Client]]:
    clients = [system.client("one"), system.client("two")]
    yield clients
    for client in clients:
        client.mood = WELL


def test_apps_equal_git_after_every_kill(system: System, clients: list[Client], random: Random) -> None:
    """Two apps follow two repositories each, one of them together."""
    remotes = [system.remote(name) for name in ("alone", "shared", "other")]
    for remote in remotes:
        remote.fill(FIRST_FILES)
    system.add(clients, remotes[1:2])
    system.add(clients[:1], remotes[:1])
    system.add(clients[1:], remotes[2:])
    kills = 0
    for number in range(1, ROUNDS + 1):
        kills += _round(system, clients, remotes, random)
        if number % ROUNDS_A_CHECKPOINT == 0 or number == ROUNDS:
            for client in clients:
                client.mood = WELL
            system.wait_until_synced(*remotes)
    interrupted = [outcome for remote in remotes for outcome, _, _ in system.runs(remote) if outcome == "interrupted"]
    assert len(interrupted) >= ROUNDS // 3, "most kills met no run: the test has become pointless"
    _same_ids(clients)
    # Each kill meets at most two runs of an app.
    assert all(client.repeats() <= kills * 2 * UNRECORDED for client in clients)
    taken, again = [len(client.taken()) for client in clients], [client.repeats() for client in clients]
    print(f"{kills} kills, {len(interrupted)} runs interrupted; {taken} requests taken, {again} of them again")


def _round(system: System, clients: list[Client], remotes: list[Remote], random: Random) -> int:
    """Commits, kills and starts again; how many were killed."""
    for client in clients:
        client.mood = random.choice(MOODS)
    before = [len(client.sent) for client in clients]
    for remote in remotes:
        for _ in range(random.randrange(1, 3)):
            remote.go_on(random, random.randrange(1, MOST_CHANGES))
    system.poll_now(*remotes)
    if random.random() < 0.7:
        _wait_for_a_request(clients, before)
    time.sleep(random.uniform(0, 0.4))
    victims = random.choice((WORKERS[:1], WORKERS[1:], WORKERS))
    if random.random() < 0.2:
        victims = (*victims, SCHEDULER)
    system.kill(*victims)
    if random.random() < 0.1:
        random.choice(clients).restart()
    system.restart(*victims)
    return len(victims) - (SCHEDULER in victims)


def _wait_for_a_request(clients: list[Client], before: list[int]) -> None:
    """Or a second and a half, where what was killed before has not been taken up again yet."""
    deadline = time.monotonic() + 1.5
    while [len(client.sent) for client in clients] == before and time.monotonic() < deadline:
        time.sleep(0.005)


def _same_ids(clients: list[Client]) -> None:
    """What is told twice of one path, at one commit, is told with one id."""
    for client in clients:
        last: dict[tuple[str, bytes], tuple[object, str]] = {}
        for sent in client.sent:
            mode, blob, _ = sent.version
            path, said = (sent.repository, sent.path), (sent.event, mode, blob, sent.commit)
            change = sent.webhook_id.partition(".")[0]
            if path in last and last[path][0] == said:
                assert last[path][1] == change, f"{sent} has another id than before"
            last[path] = (said, change)
