"""kill -9 at random points, commit after commit: each time the apps end up with exactly what git has."""

import os
import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.acceptance.client import WELL, Client, Mood
from tests.acceptance.remote import Remote
from tests.acceptance.system import SCHEDULER, WORKERS, System, wait_for
from tests.git.servers import GitHttpServer

ROUNDS = int(os.environ.get("KILL_ROUNDS", "24"))
ROUNDS_A_CHECKPOINT = 5
FIRST_FILES = 120
MOST_CHANGES = 80
# What a kill can leave unrecorded in each run: a group, the one that is being written, and what is in flight.
UNRECORDED = 2 * 200 + 16
MOODS = (
    *(WELL, WELL, WELL, Mood(delay=0.03), Mood(delay=0.03), Mood(fails=0.3), Mood(resets=0.2), Mood(loses=0.3)),
    *(Mood(throttles=0.1), Mood(throttles=0.05, retry_after=1), Mood(late=0.05), Mood(fails=0.1, throttles=0.1)),
    *(Mood(delay=0.4), Mood(silent=0.05), Mood(hangs=True)),
)
# Seconds that a remote takes before each of its answers: well, slow, and longer than git waits.
REMOTE_DELAYS = (0.0, 0.0, 0.0, 0.3, 10.0)
BAD_FILES = 3
# Short enough that limits and second chances take no longer than a kill.
PACE = {
    **{"RESEND_DELAYS": "0.1,0.3", "THROTTLE_FIRST_SECONDS": "0.1", "THROTTLE_MOST_SECONDS": "0.5"},
    **{"GIT_LS_REMOTE_TIMEOUT": "1", "GIT_TIMEOUT": "1"},
    **{"GIT_CIRCUIT_COOLDOWN_SECONDS": "1", "GIT_CIRCUIT_COOLDOWN_MAX_SECONDS": "1"},
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), **PACE) as system:
        yield system


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


@pytest.fixture
def forge(system: System) -> Iterator[GitHttpServer]:
    """Serves the remotes over http."""
    server = GitHttpServer(system.folder)
    yield server
    server.delay = 0.0
    server.close()


def test_apps_equal_git_after_every_kill(
    system: System, clients: list[Client], forge: GitHttpServer, random: Random
) -> None:
    """Two apps follow two repositories each, one of them together; one is read over http."""
    remotes = [system.remote(name) for name in ("alone", "shared", "other")]
    for remote in remotes:
        remote.fill(FIRST_FILES)
    system.add(clients, remotes[1:2])
    system.add(clients[:1], remotes[:1])
    system.add(clients[1:], remotes[2:], url=forge.url("other.git"))
    kills = 0
    for number in range(1, ROUNDS + 1):
        forge.delay = random.choice(REMOTE_DELAYS)
        kills += _round(system, clients, remotes, random)
        if number % ROUNDS_A_CHECKPOINT == 0 or number == ROUNDS:
            forge.delay = 0.0
            _checkpoint(system, clients, remotes)
    interrupted = [outcome for remote in remotes for outcome, _, _ in system.runs(remote) if outcome == "interrupted"]
    assert len(interrupted) >= ROUNDS // 3, "most kills met no run: the test has become pointless"
    _same_ids(clients)
    _newest_last(clients, remotes)
    assert [client.unverified for client in clients] == [0, 0], "a secret that had ended signed, or a new one alone"
    # Each kill meets at most two runs of an app.
    assert all(client.repeats() <= kills * 2 * UNRECORDED for client in clients)
    taken, again = [len(client.taken()) for client in clients], [client.repeats() for client in clients]
    print(f"{kills} kills, {len(interrupted)} runs interrupted; {taken} requests taken, {again} of them again")


def _round(system: System, clients: list[Client], remotes: list[Remote], random: Random) -> int:
    """Commits, kills and starts again; how many were killed."""
    for client in clients:
        client.mood = random.choice(MOODS)
        if not client.bad and random.random() < 0.3:
            client.bad = _bad_files(remotes, random)
    before = [len(client.sent) for client in clients]
    for remote in remotes:
        for _ in range(random.randrange(1, 3)):
            remote.go_on(random, random.randrange(1, MOST_CHANGES))
    system.poll_now(*remotes)
    if random.random() < 0.7:
        _wait_for_a_request(clients, before)
    change = Change(system, random.choice(clients), random) if random.random() < 0.4 else None
    time.sleep(random.uniform(0, 0.4))
    victims = random.choice((WORKERS[:1], WORKERS[1:], WORKERS))
    if random.random() < 0.2:
        victims = (*victims, SCHEDULER)
    system.kill(*victims)
    if random.random() < 0.1:
        random.choice(clients).restart()
    system.restart(*victims)
    if change:
        change.finish()
    return len(victims) - (SCHEDULER in victims)


class Change:
    """Another URL, another secret, or a pause and its end: a command that runs while workers are killed."""

    def __init__(self, system: System, client: Client, random: Random) -> None:
        self._client, self._secret_file = client, None
        kind = random.choice(("url", "secret", "pause", "pause a repository"))
        print(f"{client.name}: {kind}")
        if kind == "url":
            self._process = system.begin(["app_change", client.name, "--url", client.move()])
        elif kind == "secret":
            self._secret_file = file = client.new_secret()
            rotate = ["secret_rotate", client.name, "--secret-file", str(file), "--yes", "--force"]
            self._process = system.begin(rotate)
        else:
            paused = [client.name] if kind == "pause" else ["--repository", "shared"]
            commands = [["pause", *paused, "--yes"], ["resume", *paused, "--yes"]]
            self._process = system.begin(*commands, pause=random.uniform(0, 1.5))

    def finish(self) -> None:
        said, _ = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, said
        if self._secret_file:
            self._client.knows(self._secret_file)


def _checkpoint(system: System, clients: list[Client], remotes: list[Remote]) -> None:
    """Everything arrives but the bad files, and once nothing is bad these too."""
    for client in clients:
        client.mood = WELL
    if any(client.bad for client in clients):
        wait_for(lambda: not _missing(system, remotes), lambda: (_missing(system, remotes), system.unsettled(remotes)))
    for client in clients:
        client.bad = {}
    system.wait_until_synced(*remotes)
    for client in clients:
        client.close_old_gates()


def _bad_files(remotes: list[Remote], random: Random) -> dict[bytes, int]:
    paths = {path.encode() if isinstance(path, str) else path for remote in remotes for path in remote.tree}
    return {path: random.choice((422, 500)) for path in random.sample(sorted(paths), BAD_FILES)}


def _missing(system: System, remotes: list[Remote]) -> list[tuple[str, str, bytes]]:
    """(client, remote, path) where the two differ, but for what the client never takes."""
    found = []
    for remote in remotes:
        files = remote.files()
        for client in system.following(remote):
            held = client.files(remote.id)
            differing = {path for path in files.keys() | held.keys() if files.get(path) != held.get(path)}
            found += [(client.name, remote.name, path) for path in sorted(differing - client.bad.keys())]
    return found


def _newest_last(clients: list[Client], remotes: list[Remote]) -> None:
    """No file of an older commit came after one of a newer commit."""
    for remote in remotes:
        commits = remote.git("rev-list", "--reverse", "HEAD").decode().split()
        number = {commit: index for index, commit in enumerate(commits)}
        for client in clients:
            came = sorted((s for s in client.sent if s.repository == remote.id and s.path), key=lambda sent: sent.at)
            order = [number[sent.commit] for sent in came]
            assert order == sorted(order), f"{client.name} was told of an older commit of {remote.name} last"


def _wait_for_a_request(clients: list[Client], before: list[int]) -> None:
    """Or a second and a half, where what was killed before has not been taken up again yet."""
    deadline = time.monotonic() + 1.5
    while [len(client.sent) for client in clients] == before and time.monotonic() < deadline:
        time.sleep(0.005)


def _same_ids(clients: list[Client]) -> None:
    """What is told twice of one path, at one commit, is told with one id."""
    for client in clients:
        last: dict[tuple[str, bytes], tuple[object, str]] = {}
        for sent in (sent for sent in client.sent if sent.path):
            mode, blob, _ = sent.version
            path, said = (sent.repository, sent.path), (sent.event, mode, blob, sent.commit)
            change = sent.webhook_id.partition(".")[0]
            if path in last and last[path][0] == said:
                assert last[path][1] == change, f"{sent} has another id than before"
            last[path] = (said, change)
