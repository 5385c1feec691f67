"""The row about neighbours that hang: on the whole system, its worker processes and its scheduler."""

import statistics as stats
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from django.utils import timezone

from benchmarks.fleet import FILES, Fleet
from benchmarks.result import Result, Scale
from benchmarks.stage import CHECKOUT, Receiver, Stage, content_of, path_of
from benchmarks.system import System, wait_for

HEALTHY = 20
GOAL = 1.2
# Runs of slow ones that go on before anything is measured.
SLOW_AT_WORK = 20


def among_the_slow(stage: Stage, scale: Scale) -> list[Result]:
    """Pushes to healthy repositories: alone, then among apps that hang and remotes that say nothing.

    The slow ones have been met before, and the next tries of all are due at once: many more than there are slots.
    """
    with ExitStack() as exit:
        receiver = Receiver()
        exit.callback(receiver.close)
        healthy = [Healthy(stage, receiver) for _ in range(HEALTHY)]
        slow = exit.enter_context(_slow(stage, scale))
        exit.enter_context(System(stage))
        for _ in range(2):
            push(healthy, receiver)
        alone = [push(healthy, receiver) for _ in range(scale.short_rounds)]
        slow.begin()
        wait_for(lambda: slow.at_work() >= SLOW_AT_WORK, "The begin of the slow runs")
        beside, meanwhile = [], []
        for _ in range(scale.short_rounds):
            beside.append(push(healthy, receiver))
            meanwhile.append(slow.at_work())
    busy, quiet = stats.median(beside), stats.median(alone)
    return [
        Result(
            f"a push to each of {HEALTHY} healthy repositories, among {scale.hanging} hanging apps"
            f" and {scale.silent} silent remotes",
            "alone",
            f"{busy:.0f} ms",
            f"{quiet:.0f} ms",
            f"{busy / quiet:.2f}",
            f"≤ {GOAL}",
            busy <= GOAL * quiet,
            [
                f"From the push to the last webhook, each, ms: {', '.join(f'{ms:.0f}' for ms in beside)};"
                f" alone: {', '.join(f'{ms:.0f}' for ms in alone)}.",
                f"Runs of the slow ones meanwhile: {min(meanwhile)} to {max(meanwhile)};"
                f" {slow.polled} silent remotes were polled.",
            ],
        )
    ]


class Healthy:
    """A repository that one app follows; each push changes all its files."""

    def __init__(self, stage: Stage, receiver: Receiver) -> None:
        fleet = Fleet(stage, 1, repositories=1, url=receiver.url)
        [(self.id, self._repo)] = fleet.repos.items()
        self._version = 0

    def commit(self) -> None:
        self._version += 1
        self._repo.commit({path_of(n): content_of(n, 4096, version=10_000 + self._version) for n in range(FILES)})


def push(healthy: list[Healthy], receiver: Receiver) -> float:
    """Milliseconds from the moment at which all are to be checked to the last webhook."""
    from django.db import transaction

    from syncsvc import wakeup
    from syncsvc.models import Repository, Status, Subscription

    ids = [each.id for each in healthy]
    for each in healthy:
        each.commit()
    wanted = receiver.requests() + len(healthy) * FILES
    began = time.perf_counter()
    with transaction.atomic():
        for id in ids:
            Repository.objects.request_check(id)
        wakeup.wake_polls(ids)
    while receiver.requests() < wanted:
        assert time.perf_counter() - began < 120, "the pushes did not come"
        time.sleep(0.005)
    took = (time.perf_counter() - began) * 1000
    of_these = Subscription.objects.filter(repository_id__in=ids)
    wait_for(lambda: not of_these.exclude(status=Status.SYNCED).exists(), "The end of the pushes' runs")
    return took


class _Slow:
    """Apps whose endpoints hang, and repositories whose remotes never answer; earlier runs have shown it."""

    def __init__(self, stage: Stage, scale: Scale, port: int) -> None:
        self._hanging = Fleet(stage, scale.hanging, repositories=1, url=f"http://127.0.0.1:{port}/hook")
        self._hanging.change()
        self._name = uuid.uuid4().hex[:8]
        self._add_silent(stage, scale, port)
        self._set_active(False)

    def at_work(self) -> int:
        from syncsvc.models import Status, Subscription

        return Subscription.objects.filter(app__failure_streak__gt=0, status=Status.SYNCING).count() + (
            Subscription.objects.filter(repository__name__startswith=self._name, status=Status.SYNCING).count()
        )

    @property
    def polled(self) -> int:
        """Silent remotes that have been asked again."""
        from syncsvc.models import Repository

        return Repository.objects.filter(name__startswith=self._name, failure_streak__gt=5).count()

    def begin(self) -> None:
        self._are_due()
        self._set_active(True)

    def _set_active(self, is_active: bool) -> None:
        from syncsvc.models import App, Repository

        App.objects.filter(id__in=self._hanging.apps).update(is_active=is_active)
        Repository.objects.filter(name__startswith=self._name).update(is_active=is_active)

    def end(self) -> None:
        """Other rows run workers, too."""
        self._set_active(False)

    def _are_due(self) -> None:
        """The probe of each circuit is due, the poll of each remote, and a run of each."""
        from syncsvc.models import App, Repository, Status, Subscription

        now = timezone.now()
        App.objects.filter(id__in=self._hanging.apps).update(
            failing_messages=["1", "2", "3", "4", "5"],
            failure_streak=5,
            circuit_opened_at=now - timedelta(minutes=2),
            circuit_until=now,
            circuit_openings=2,
        )
        due = {"due_at": now, "queued_at": None, "trigger": "back_off"}
        Subscription.objects.filter(app__in=self._hanging.apps).update(
            status=Status.PENDING, error_kind="endpoint_circuit_open", **due
        )
        Subscription.objects.filter(repository__name__startswith=self._name).update(error_kind="git_timeout", **due)
        Repository.objects.filter(name__startswith=self._name).update(due_at=now)

    def _add_silent(self, stage: Stage, scale: Scale, port: int) -> None:
        """A host each."""
        from syncsvc.models import App, Repository, Subscription

        now = timezone.now()
        for number in range(scale.silent):
            repository = Repository.objects.create(
                name=f"{self._name}/{number}",
                url=f"git://127.0.0.{number % 250 + 2}:{port}/r.git",
                failure_streak=5,
                circuit_until=now,
                failing_since=now - timedelta(minutes=2),
                error_kind="git_timeout",
            )
            app = App.objects.create(name=f"{self._name}-{number}", url=stage.receiver.url)
            Subscription.objects.create(app=app, repository=repository)


@contextmanager
def _slow(stage: Stage, scale: Scale) -> Iterator[_Slow]:
    command = [sys.executable, "-m", "benchmarks.silence"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT)
    assert process.stdout is not None
    try:
        slow = _Slow(stage, scale, int(process.stdout.readline()))
        yield slow
        slow.end()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
