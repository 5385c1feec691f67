"""Polls have places of their own in each worker process, which a silent host cannot use up."""

import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from syncsvc.models import Repository
from syncsvc.store.polls import DuePoll, due_polls
from syncsvc.sync.heartbeat import CRASHES
from syncsvc.sync.polls import Polls, choose
from syncsvc.sync.rooms import Shares
from tests.factories import RepositoryFactory
from tests.git.servers import GitHttpServer
from tests.gitrepo import GitRepo
from tests.sync.rows import copy_rows

pytestmark = pytest.mark.django_db(transaction=True)
SIZE = 16
QUARTER, HALF, MOST = Shares(SIZE).quarter, Shares(SIZE).half, Shares(SIZE).most


def polls(count: int, *, host: str = "", is_doubtful: bool = False, is_probe: bool = False) -> list[DuePoll]:
    return [DuePoll(uuid.uuid4(), host, is_doubtful, is_probe) for _ in range(count)]


@pytest.mark.parametrize(
    ("due", "of_host", "chosen"),
    [
        (polls(3, host="a"), QUARTER, 3),
        (polls(40, host="a"), QUARTER, QUARTER),
        (polls(40, host="a"), MOST, MOST),
        (polls(40), QUARTER, SIZE),
        (polls(40, is_doubtful=True), QUARTER, HALF),
        (polls(40, host="a", is_doubtful=True), MOST, HALF),
        (polls(40, host="a", is_probe=True), MOST, 1),
        (polls(9, host="a") + polls(9, host="b"), QUARTER, 2 * QUARTER),
    ],
)
def test_places_are_shared_out(due: list[DuePoll], of_host: int, chosen: int) -> None:
    assert len(choose(due, [], size=SIZE, of_host=of_host)) == chosen


DUE = st.lists(
    st.builds(DuePoll, st.uuids(), st.sampled_from(["", "a", "b", "c"]), st.booleans(), st.booleans()), max_size=40
)


@given(DUE, DUE, st.integers(1, 20), st.booleans())
def test_no_share_is_exceeded_and_the_longest_due_go_first(
    due: list[DuePoll], before: list[DuePoll], size: int, others_wait: bool
) -> None:
    shares = Shares(size)
    of_host = shares.quarter if others_wait else shares.most
    running = choose(before, [], size=size, of_host=of_host)

    chosen = choose(due, running, size=size, of_host=of_host)

    taken = [*running, *chosen]
    assert len(taken) <= size
    assert sum(poll.is_doubtful for poll in taken) <= shares.half
    hosts = Counter(poll.host for poll in taken if poll.host)
    assert all(count <= of_host for count in hosts.values())
    assert chosen == [poll for poll in due if poll in chosen]
    if len(taken) < size and not any(poll.host or poll.is_doubtful for poll in due):
        assert len(chosen) == len(due)


@pytest.fixture
def remote(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    repo = GitRepo(tmp_path_factory.mktemp("remotes") / "repo.git")
    repo.commit({"a": b"1"})
    return repo


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server, on every address of the loopback, that takes connections and never says a word."""
    with socket.create_server(("0.0.0.0", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def fresh(settings: Settings) -> Iterator[Polls]:
    settings.WORKER_THREADS = 8
    settings.GIT_LS_REMOTE_TIMEOUT = 3
    found = Polls()
    yield found
    wait_until(lambda: not found.running)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def checked() -> set[uuid.UUID]:
    return set(Repository.objects.filter(lease_expires_at=None, due_at__gt=Now()).values_list("id", flat=True))


@pytest.mark.parametrize("hosts", [1, 60])
def test_sixty_silent_remotes_hold_up_no_poll_of_others(fresh: Polls, remote: GitRepo, silent: int, hosts: int) -> None:
    """Measured while polls shared threads with runs: 30, 57, 93 s."""
    for number in range(60):
        RepositoryFactory(url=f"git://127.0.0.{2 + number % hosts}:{silent}/repo", due_at=timezone.now() - HOUR)
    fresh.look()
    assert 0 < len(fresh.running) <= 4

    well = {RepositoryFactory(url=str(remote.path), checked_at=timezone.now()).id for _ in range(3)}
    fresh.look()
    wait_until(lambda: checked() == well)

    assert len(fresh.running) > 0, "the silent ones are still being asked"


HOUR = timedelta(hours=1)


def test_polls_of_one_host_go_on_while_no_others_wait_and_leave_places_for_those_that_come(
    fresh: Polls, remote: GitRepo
) -> None:
    server = GitHttpServer(remote.path.parent)
    server.delay = 1.0
    for _ in range(20):
        RepositoryFactory(url=server.url(remote.path.name), checked_at=timezone.now())
    assert len(fresh.look()) == 6

    other = RepositoryFactory(url=str(remote.path), checked_at=timezone.now())
    assert [poll.id for poll in fresh.look()] == [other.id]

    wait_until(lambda: len(fresh.running) == 0)
    server.close()


def test_others_go_before_a_second_share_of_one_host_however_many_of_it_are_due(fresh: Polls, remote: GitRepo) -> None:
    server = GitHttpServer(remote.path.parent)
    server.delay = 0.3
    for _ in range(40):
        RepositoryFactory(url=server.url(remote.path.name), checked_at=timezone.now(), due_at=timezone.now() - HOUR)
    others = {RepositoryFactory(url=str(remote.path), checked_at=timezone.now()).id for _ in range(6)}

    assert others < {poll.id for poll in fresh.look()}

    wait_until(lambda: not fresh.running)
    server.close()


def test_a_look_takes_what_a_place_that_got_free_was_wanted_for(fresh: Polls, remote: GitRepo) -> None:
    for _ in range(20):
        RepositoryFactory(url=str(remote.path), checked_at=timezone.now())
    assert len(fresh.look()) == 8
    wait_until(lambda: not fresh.running)

    assert fresh.is_knocked
    assert len(fresh.look()) == 8


def test_a_poll_that_crashes_frees_its_place_and_is_shown_with_its_worker(fresh: Polls) -> None:
    RepositoryFactory(url="/nowhere", token="x", username="u")
    with connection.cursor() as cursor:
        cursor.execute(r"UPDATE syncsvc_repository SET token = '\x00'")

    assert len(fresh.look()) == 1

    wait_until(lambda: not fresh.running)
    assert "A poll failed with ImproperlyConfigured" in CRASHES.trouble


def test_paused_running_and_later_polls_are_not_due() -> None:
    due, paused, running, later, dead = (RepositoryFactory() for _ in range(5))
    Repository.objects.filter(id=paused.id).update(is_active=False)
    for repository in (running, dead):
        Repository.objects.claim(repository.id, token=uuid.uuid4())
    Repository.objects.filter(id=dead.id).update(lease_expires_at=Now() - timedelta(seconds=1))
    Repository.objects.filter(id=later.id).update(due_at=Now() + timedelta(seconds=30))

    assert {poll.id for poll in due_polls(10)} == {due.id, dead.id}
    assert {poll.id for poll in due_polls(10, running=[due.id])} == {dead.id}


def test_a_worker_polls_what_is_in_its_shards(settings: Settings) -> None:
    settings.SYNC_QUEUES = 3
    ids = [RepositoryFactory(id=uuid.UUID(int=number)).id for number in range(30, 36)]

    assert {poll.id for poll in due_polls(10, shards=[1])} == {ids[1], ids[4]}
    assert len(due_polls(10)) == 6


def test_two_workers_that_find_the_same_poll_make_it_once(fresh: Polls, remote: GitRepo) -> None:
    server = GitHttpServer(remote.path.parent)
    RepositoryFactory(url=server.url(remote.path.name))
    second = Polls()
    due = due_polls(10)

    fresh.begin(due)
    second.begin(due)

    wait_until(lambda: not fresh.running and not second.running)
    assert server.discoveries == 1
    server.close()


def test_the_due_query_of_ten_thousand_reads_the_partial_index() -> None:
    RepositoryFactory(due_at=timezone.now() + HOUR)
    copy_rows(Repository, 10_000, id="gen_random_uuid()", name="'r' || n")
    few = Repository.objects.values_list("id", flat=True)[:5]
    Repository.objects.filter(id__in=list(few)).update(due_at=Now())
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE syncsvc_repository")
    before = scans()

    assert len(due_polls(64)) == 5

    assert scans() > before


def scans() -> int:
    """Of the index of due polls, those of this connection included."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'repository_due'")
        return int(cursor.fetchone()[0])
