"""A host that is down is found once, not once a repository; and nothing but a failure to connect speaks against it."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from syncsvc.exceptions import GitError
from syncsvc.models import Operation, RemoteHost, Repository, Status, Subscription, Trigger
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.release import go_on, release
from syncsvc.operations.scope import Scope
from syncsvc.store.polls import due_polls, put_off_polls
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.poll import poll_repository
from syncsvc.sync.remote_circuits import GitCircuitOpenError, enter_host, remote_answered, remote_failed
from syncsvc.sync.slots import Slots
from syncsvc.types import ErrorKind
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.git.servers import GitHttpServer
from tests.sync.world import World

HOUR = timedelta(hours=1)


class Forge:
    """Repositories of one host that all have the world's content; `goes_down` ends the server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._server: GitHttpServer | None = GitHttpServer(world.repo.path.parent)
        self.host = self._server.base.removeprefix("http://")
        world.repo.commit({"a": b"1"})
        Subscription.objects.all().delete()
        Repository.objects.all().delete()

    @property
    def server(self) -> GitHttpServer:
        assert self._server is not None
        return self._server

    def repository(self, path: str = "", **values: object) -> Repository:
        name = path or self.world.repo.path.name
        row: Repository = RepositoryFactory(url=f"http://{self.host}/{name}", **values)
        return row

    def repositories(self, count: int) -> list[Repository]:
        return [self.repository() for _ in range(count)]

    def goes_down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


@pytest.fixture
def forge(world: World) -> Iterator[Forge]:
    forge = Forge(world)
    yield forge
    forge.goes_down()


def poll(*repositories: Repository) -> None:
    for repository in repositories:
        Repository.objects.filter(id=repository.id).update(due_at=Now())
        poll_repository(repository.id)


def follower(forge: Forge, repository: Repository, **values: object) -> uuid.UUID:
    id: uuid.UUID = SubscriptionFactory(
        app=AppFactory(url=forge.world.receiver.url), repository=repository, **values
    ).id
    return id


def is_open(host: str) -> bool:
    return RemoteHost.objects.filter(name=host, circuit_until__isnull=False).exists()


def cool_down_is_over() -> None:
    RemoteHost.objects.update(circuit_until=Now(), probe_until=None)


def row(repository: Repository) -> Repository:
    return Repository.objects.get(id=repository.id)


def down(forge: Forge, count: int = 5) -> list[Repository]:
    """Repositories of a host whose circuit is open; three of them have failed."""
    repositories = forge.repositories(count)
    forge.goes_down()
    poll(*repositories[:3])
    assert is_open(forge.host)
    return repositories


def test_three_repositories_that_cannot_connect_stop_the_polls_of_all(forge: Forge) -> None:
    repositories = forge.repositories(5)
    forge.goes_down()

    poll(*repositories[:2])
    assert not is_open(forge.host)
    poll(repositories[2])
    assert is_open(forge.host)

    Repository.objects.update(due_at=Now())
    assert due_polls(10) == []
    put_off_polls()
    host = RemoteHost.objects.get()
    assert host.circuit_until is not None
    for repository in repositories:
        assert host.circuit_until <= row(repository).due_at <= host.circuit_until + timedelta(seconds=5)
    assert row(repositories[4]).failure_streak == 0
    assert 25 < (host.circuit_until - timezone.now()).total_seconds() <= 30


def test_one_bad_repository_never_stops_a_forge(forge: Forge) -> None:
    bad, *_ = forge.repositories(3)
    forge.goes_down()

    for _ in range(10):
        poll(bad)

    assert not is_open(forge.host)


def test_a_success_between_two_failures_begins_the_count_anew(forge: Forge, settings: Settings) -> None:
    well = forge.repository()
    failing = [forge.repository() for _ in range(4)]
    for repository in failing[:2]:
        remote_failed(repository, no_connection())
    poll(well)
    for repository in failing[2:]:
        remote_failed(repository, no_connection())

    assert not is_open(forge.host)
    assert RemoteHost.objects.get().failing_repositories == [repository.id for repository in failing[2:]]


def no_connection() -> GitError:
    return GitError(ErrorKind.GIT_UNREACHABLE, "The remote cannot be reached.")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_an_http_answer_of_whatever_status_says_that_the_host_is_up(forge: Forge, status: int) -> None:
    repositories = forge.repositories(4)
    for repository in repositories[:2]:
        remote_failed(repository, no_connection())

    forge.server.status = status
    poll(*repositories)

    assert not is_open(forge.host)
    assert RemoteHost.objects.get().failing_repositories == []


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (ErrorKind.GIT_UNREACHABLE, True),
        (ErrorKind.GIT_TIMEOUT, True),
        (ErrorKind.GIT_AUTH, False),
        (ErrorKind.GIT_NOT_FOUND, False),
        (ErrorKind.GIT_CORRUPT, False),
        (ErrorKind.INTERNAL, False),
    ],
)
def test_only_failures_to_connect_count(forge: Forge, kind: ErrorKind, counts: bool) -> None:
    for repository in forge.repositories(5):
        remote_failed(repository, GitError(kind, "It failed."))

    assert is_open(forge.host) is counts


def test_local_paths_have_no_host(forge: Forge) -> None:
    for _ in range(4):
        remote_failed(RepositoryFactory(url="/nowhere"), no_connection())

    assert not RemoteHost.objects.exists()


def test_a_run_leaves_the_host_alone_and_uses_up_no_try(forge: Forge) -> None:
    *_, last = down(forge)
    id = follower(forge, last, trigger=Trigger.POLL)

    ended = run_subscription(id, worker="test")

    assert ended is not None
    assert (ended.outcome, ended.error_kind) == ("postponed", "git_unreachable")
    assert forge.host in ended.error
    subscription = Subscription.objects.get(id=id)
    assert subscription.retry_count == 0
    assert subscription.due_at is not None
    assert 20 < (subscription.due_at - timezone.now()).total_seconds() <= 33
    assert row(last).failure_streak == 0


def test_a_run_whose_mirror_has_the_commit_needs_no_host(forge: Forge) -> None:
    repository = forge.repository()
    poll(repository)
    assert run_subscription(follower(forge, repository), worker="test") is not None
    id = follower(forge, repository, trigger=Trigger.POLL)
    for other in forge.repositories(3):
        remote_failed(other, no_connection())
    assert is_open(forge.host)

    ended = run_subscription(id, worker="test")

    assert ended is not None
    assert ended.outcome == "synced"


def test_a_run_that_would_have_to_fetch_leaves_the_host_alone(forge: Forge) -> None:
    repository = forge.repository()
    id = follower(forge, repository, trigger=Trigger.POLL)
    poll(repository)
    for other in forge.repositories(3):
        remote_failed(other, no_connection())
    before = forge.server.discoveries

    ended = run_subscription(id, worker="test")

    assert ended is not None
    assert (ended.outcome, forge.server.discoveries) == ("postponed", before)


def test_fetches_that_cannot_connect_count_for_the_host(forge: Forge) -> None:
    """The polls had found the commits while the host was well."""
    repositories = forge.repositories(3)
    poll(*repositories)
    ids = [follower(forge, repository, trigger=Trigger.POLL) for repository in repositories]
    forge.goes_down()

    for id in ids[:2]:
        assert run_subscription(id, worker="test") is not None
    assert not is_open(forge.host)
    assert run_subscription(ids[2], worker="test") is not None

    assert is_open(forge.host)


def test_a_fetch_that_is_the_probe_closes_the_circuit(forge: Forge) -> None:
    repository = forge.repository()
    poll(repository)
    id = follower(forge, repository, trigger=Trigger.POLL)
    for other in forge.repositories(3):
        remote_failed(other, no_connection())
    cool_down_is_over()

    ended = run_subscription(id, worker="test")

    assert ended is not None
    assert ended.outcome == "synced"
    assert not is_open(forge.host)


@pytest.mark.parametrize(("status", "host_waits"), [(429, True), (503, True), (403, False)])
def test_a_fetch_that_is_told_to_wait_is_not_made_by_another_app_before(
    forge: Forge, status: int, host_waits: bool
) -> None:
    repository = forge.repository()
    poll(repository)
    first, other = (follower(forge, repository, trigger=Trigger.POLL) for _ in range(2))
    forge.server.status, forge.server.retry_after = status, "600"

    ended = run_subscription(first, worker="test")

    assert ended is not None
    assert (ended.outcome, ended.error_kind) == ("postponed", "git_unreachable")
    assert RemoteHost.objects.filter(name=forge.host, quiet_until__isnull=False).exists() is host_waits
    until = row(repository).fetch_until
    assert until is not None
    assert (until - timezone.now()).total_seconds() > 590
    asked = len(forge.server.seen_authorizations)
    assert run_subscription(other, worker="test") is not None
    assert len(forge.server.seen_authorizations) == asked


def test_who_asks_for_a_run_or_a_check_does_not_wait_for_the_host(forge: Forge) -> None:
    repositories = forge.repositories(4)
    for repository in repositories[:3]:
        remote_failed(repository, no_connection())
    id = follower(forge, repositories[3], trigger=Trigger.SYNC)

    ended = run_subscription(id, worker="test")
    assert ended is not None
    assert ended.outcome == "synced"
    assert not is_open(forge.host)

    for repository in repositories[:3]:
        remote_failed(repository, no_connection())
    Repository.objects.update(due_at=Now() + HOUR)
    assert Repository.objects.request_check(repositories[3].id)
    assert [found.id for found in due_polls(10)] == [repositories[3].id]
    assert poll_repository(repositories[3].id)
    assert not is_open(forge.host)


def test_one_probe_at_a_time_decides_and_its_failure_doubles_the_cool_down(forge: Forge) -> None:
    repositories = down(forge)

    for cooldown in (60, 120, 240):
        cool_down_is_over()
        Repository.objects.update(due_at=Now())
        poll(repositories[3])
        host = RemoteHost.objects.get()
        assert host.circuit_until is not None
        assert cooldown - 5 < (host.circuit_until - timezone.now()).total_seconds() <= cooldown


def test_of_many_who_come_at_the_end_of_a_cool_down_one_is_the_probe(forge: Forge) -> None:
    repositories = [row(repository) for repository in down(forge)]
    cool_down_is_over()
    start, entered = threading.Barrier(5), list[str]()

    def enter(repository: Repository) -> None:
        start.wait()
        try:
            enter_host(repository)
            entered.append("asks")
        except GitCircuitOpenError:
            entered.append("waits")
        finally:
            connection.close()

    threads = [threading.Thread(target=enter, args=[repository]) for repository in repositories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(entered) == ["asks", "waits", "waits", "waits", "waits"]
    Repository.objects.update(due_at=Now())
    assert due_polls(10) == []


def test_a_probe_that_decides_nothing_is_given_back(forge: Forge) -> None:
    *_, last = down(forge)
    cool_down_is_over()

    Repository.objects.filter(id=last.id).update(url=f"ssh://git@{forge.host}/a.git")  # without a key
    poll(last)
    assert row(last).error_kind == "git_auth"

    assert is_open(forge.host)
    enter_host(row(last))


def test_a_success_closes_the_circuit_and_what_waited_is_due_within_seconds(forge: Forge) -> None:
    repositories = forge.repositories(5)
    for repository in repositories[:3]:
        remote_failed(repository, no_connection())
    Repository.objects.update(due_at=Now())
    put_off_polls()
    far = forge.repository(due_at=timezone.now() + HOUR)
    waiting = follower(forge, repositories[4], error_kind="git_unreachable", due_at=timezone.now() + HOUR / 2)
    failed = follower(forge, repositories[4], failed=True)
    Subscription.objects.filter(id=failed).update(error_kind="git_timeout")
    endpoint = follower(forge, repositories[4], failed=True)

    assert Repository.objects.request_check(repositories[3].id)
    assert poll_repository(repositories[3].id)

    assert not is_open(forge.host)
    soon = timezone.now() + timedelta(seconds=6)
    polled = row(repositories[3]).due_at
    assert all(row(repository).due_at < soon for repository in repositories if repository != repositories[3])
    assert polled > soon
    assert row(far).due_at > soon
    states = dict(Subscription.objects.values_list("id", "status"))
    assert states == {waiting: Status.PENDING, failed: Status.PENDING, endpoint: Status.FAILED}
    assert Subscription.objects.get(id=waiting).due_at < soon  # type: ignore[operator]


def test_subscriptions_learn_of_an_outage_that_lasts(forge: Forge) -> None:
    *_, last = down(forge)
    id = follower(forge, last, synced=True)
    cool_down_is_over()
    poll(last)
    assert Subscription.objects.get(id=id).status == Status.SYNCED

    cool_down_is_over()
    poll(last)

    assert Subscription.objects.get(id=id).status == Status.PENDING


def test_after_an_hour_of_an_unreachable_host_what_waits_is_failed(forge: Forge) -> None:
    *_, last = down(forge)
    id = follower(forge, last, trigger=Trigger.POLL)
    RemoteHost.objects.update(failing_since=Now() - HOUR)

    ended = run_subscription(id, worker="test")

    assert ended is not None
    assert ended.outcome == "failed"


def limited(status: int = 429, seconds: float = 120) -> GitError:
    return GitError(ErrorKind.GIT_UNREACHABLE, "It limits requests.", retry_after=seconds, status=status)


@pytest.mark.parametrize(("status", "host_waits"), [(429, True), (503, True), (403, False)])
def test_a_forge_that_asks_for_a_pause_has_it(forge: Forge, status: int, host_waits: bool) -> None:
    asked, other = forge.repositories(2)

    remote_failed(asked, limited(status))

    until = row(asked).circuit_until
    assert until is not None
    assert 115 < (until - timezone.now()).total_seconds() <= 120
    Repository.objects.update(due_at=Now())
    assert {poll.id for poll in due_polls(10)} == (set() if host_waits else {asked.id, other.id})
    remote_answered(other)  # it was asked before
    put_off_polls()
    assert (row(other).due_at > timezone.now() + timedelta(seconds=100)) is host_waits


def test_a_pause_never_gets_shorter_and_no_longer_than_allowed(forge: Forge, settings: Settings) -> None:
    (repository,) = forge.repositories(1)
    for seconds in (10_000_000, 5):
        remote_failed(repository, limited(seconds=seconds))

    until = RemoteHost.objects.get().quiet_until
    assert until is not None
    remaining = (until - timezone.now()).total_seconds()
    assert settings.RETRY_AFTER_MAX_SECONDS - 5 < remaining <= settings.RETRY_AFTER_MAX_SECONDS


def retry_in_bulk(forge: Forge, repositories: list[Repository]) -> Operation:
    for repository in repositories:
        follower(forge, repository, failed=True)
    return bulk.start(Scope(kind=Operation.Kind.RETRY), Asker(name="a test", source=Operation.Source.COMMAND))


def test_of_a_bulk_operation_one_item_asks_a_host_that_is_down_and_tells_the_others(
    forge: Forge, settings: Settings
) -> None:
    repositories = down(forge, 12)
    operation = retry_in_bulk(forge, repositories)
    before = sum(Repository.objects.values_list("failure_streak", flat=True))

    Slots().run_released(worker="test", settled=go_on)

    operation.refresh_from_db()
    assert (operation.failed, operation.waiting) == (12, 0)
    assert sum(Repository.objects.values_list("failure_streak", flat=True)) == before + 1


def test_of_a_bulk_operation_one_item_finds_a_host_that_is_back_and_all_get_through(forge: Forge) -> None:
    repositories = forge.repositories(6)
    for repository in repositories[:3]:
        remote_failed(repository, no_connection())
    operation = retry_in_bulk(forge, repositories)

    Slots().run_released(worker="test", settled=go_on)

    operation.refresh_from_db()
    assert operation.succeeded == 6


def test_items_wait_for_a_host_that_asked_for_a_pause(forge: Forge) -> None:
    repositories = forge.repositories(3)
    operation = retry_in_bulk(forge, repositories)
    remote_failed(repositories[0], limited())

    Slots().run_released(worker="test", settled=go_on)
    release(operation.id)
    operation.refresh_from_db()
    assert (operation.waiting, operation.failed) == (3, 0)

    RemoteHost.objects.update(quiet_until=Now())
    release(operation.id)
    Slots().run_released(worker="test", settled=go_on)
    operation.refresh_from_db()
    assert operation.succeeded == 3


def test_items_of_a_host_that_only_asks_to_be_left_alone_end_in_time(forge: Forge) -> None:
    """Also those that never got to ask, because each time another one had asked for all."""
    forge.server.status = 429
    operation = retry_in_bulk(forge, forge.repositories(6))
    Slots().run_released(worker="test", settled=go_on)
    operation.refresh_from_db()
    assert (operation.waiting, operation.failed) == (6, 0)
    began = RemoteHost.objects.get().failing_since
    assert began is not None

    for hour in (False, True):
        if hour:
            RemoteHost.objects.update(failing_since=Now() - HOUR)
        RemoteHost.objects.update(quiet_until=Now())
        release(operation.id)
        Slots().run_released(worker="test", settled=go_on)
        operation.refresh_from_db()
        assert operation.failed == (6 if hour else 0)

    assert operation.status == Operation.Status.FINISHED
    assert all(item.reason and item.error_kind == "git_unreachable" for item in operation.items.all())
    remote_answered(Repository.objects.all()[0])
    assert RemoteHost.objects.get().failing_since is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Git.Example.com/a/b", "git.example.com"),
        ("https://git.example.com:8443/a/b", "git.example.com:8443"),
        ("ssh://git@git.example.com/a/b", "git.example.com"),
        ("git@git.example.com:a/b.git", "git.example.com"),
        ("git.example.com:a/b.git", "git.example.com"),
        ("git://[::1]:9418/a", "[::1]:9418"),
        ("/srv/repos/a.git", ""),
        ("file:///srv/repos/a.git", ""),
    ],
)
def test_a_repository_knows_its_host_whatever_becomes_of_its_url(world: World, url: str, host: str) -> None:
    Repository.objects.update(url=url)

    assert Repository.objects.get().host == host


OUTCOMES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["down", "down", "well", "missing"])), max_size=30)


@hypothesis_settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OUTCOMES)
def test_a_circuit_opens_exactly_after_three_different_failures_without_an_answer_between(
    forge: Forge, outcomes: list[tuple[int, str]]
) -> None:
    RemoteHost.objects.all().delete()
    Repository.objects.all().delete()
    repositories = [row(repository) for repository in forge.repositories(6)]
    in_a_row: set[int] = set()
    for number, outcome in outcomes:
        if outcome == "down":
            in_a_row.add(number)
            remote_failed(repositories[number], no_connection())
        elif outcome == "well":
            in_a_row.clear()
            remote_answered(repositories[number])
        else:  # which is an answer
            in_a_row.clear()
            remote_failed(repositories[number], GitError(ErrorKind.GIT_NOT_FOUND, "No such repository."))
        assert is_open(forge.host) is (len(in_a_row) >= 3)
