"""The row about hostile neighbours: on the whole system, beside twenty remotes that would take all there is."""

import json
import os
import statistics as stats
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.utils import timezone

from benchmarks.hostile_remotes import LIMITS
from benchmarks.memory import anonymous_bytes, anonymous_bytes_below
from benchmarks.result import MB, Result, Scale
from benchmarks.slow_rows import GOAL, HEALTHY, Healthy, push
from benchmarks.stage import CHECKOUT, Receiver, Stage
from benchmarks.system import WORKERS, System, wait_for
from syncsvc.git.mirror import bytes_of

# Bytes of a worker beside those of its gits.
OWN_BYTES = 150 * MB
AT_WORK = 1


def among_the_hostile(stage: Stage, scale: Scale) -> list[Result]:
    """Pushes to healthy repositories: alone, then among remotes that exceed every limit, run after run."""
    from django.conf import settings

    with ExitStack() as exit:
        receiver = Receiver()
        exit.callback(receiver.close)
        healthy = [Healthy(stage, receiver) for _ in range(HEALTHY)]
        hostile = exit.enter_context(_hostile(stage))
        exit.enter_context(_environment({name: str(limit) for name, limit in LIMITS.items()}))
        system = exit.enter_context(System(stage))
        mirrors = Path(settings.MIRROR_DIR)
        for _ in range(2):
            push(healthy, receiver)
        before = system.cpu()
        alone = [push(healthy, receiver) for _ in range(scale.short_rounds)]
        cpu_alone = _since(before, system)
        watch = exit.enter_context(_Watch([system.pid(name) for name in WORKERS], mirrors))
        hostile.ask()
        wait_for(lambda: not hostile.waiting(), "The first runs of the hostile ones")
        hostile.ask()
        wait_for(lambda: hostile.at_work() >= AT_WORK, "The begin of the hostile runs")
        beside, meanwhile = [], []
        before = system.cpu()
        for _ in range(scale.short_rounds):
            beside.append(push(healthy, receiver))
            meanwhile.append(hostile.at_work())
            hostile.ask()
        cpu_beside = _since(before, system)
        wait_for(lambda: not hostile.waiting(), "The end of the hostile runs")
        wrong, runs = hostile.wrong(), hostile.runs()
        left = sum(bytes_of(mirrors / id) for id in hostile.repository_ids)
    busy, quiet = stats.median(beside), stats.median(alone)
    most = LIMITS["GIT_MEMORY_BYTES"] * settings.WORKER_THREADS + OWN_BYTES
    return [
        Result(
            f"a push to each of {HEALTHY} healthy repositories, among {len(hostile)} hostile ones",
            "alone",
            f"{busy:.0f} ms",
            f"{quiet:.0f} ms",
            f"{busy / quiet:.2f}",
            f"≤ {GOAL}, each with its kind",
            busy <= GOAL * quiet and not wrong,
            [
                f"From the push to the last webhook, each, ms: {', '.join(f'{ms:.0f}' for ms in beside)};"
                f" alone: {', '.join(f'{ms:.0f}' for ms in alone)}.",
                f"Hostile runs at work meanwhile: {min(meanwhile)} to {max(meanwhile)}; {runs} in all."
                f" CPU: {cpu_beside}; alone: {cpu_alone}.",
                f"With another kind than expected: {', '.join(wrong) or 'none'}.",
            ],
        ),
        Result(
            "memory of a worker and its gits, meanwhile",
            "GIT_MEMORY_BYTES a slot + 150 MB",
            f"{watch.memory / MB:.0f} MB",
            f"{most / MB:.0f} MB",
            f"{watch.memory / most:.2f}",
            "≤ 1",
            watch.memory <= most,
            [f"The peak of one worker, anonymous pages; GIT_MEMORY_BYTES is {LIMITS['GIT_MEMORY_BYTES'] // MB} MB."],
        ),
        Result(
            "all mirrors on disk, meanwhile",
            "MIRROR_MAX_BYTES",
            f"{watch.disk / MB:.0f} MB",
            f"{settings.MIRROR_MAX_BYTES / MB:.0f} MB",
            f"{watch.disk / settings.MIRROR_MAX_BYTES:.2f}",
            "≤ 1",
            watch.disk <= settings.MIRROR_MAX_BYTES,
            [f"Afterwards the mirrors of the hostile ones have {left / MB:.1f} MB."],
        ),
    ]


def _since(before: Mapping[str, float], system: System) -> str:
    """Seconds of CPU of each part of the system since then."""
    return ", ".join(f"{part} {seconds - before[part]:.1f} s" for part, seconds in system.cpu().items())


class _Hostile:
    """Repositories whose remotes are hostile, an app each."""

    def __init__(self, stage: Stage, remotes: Mapping[str, tuple[list[str], str]]) -> None:
        from syncsvc.models import App, Repository, Subscription

        prefix = uuid.uuid4().hex[:8]
        self._kinds: dict[uuid.UUID, tuple[str, list[str]]] = {}
        self.repository_ids: list[str] = []
        for number, (name, (kinds, url)) in enumerate(remotes.items()):
            repository = Repository.objects.create(name=f"{prefix}/{number}", url=url, is_active=False)
            app = App.objects.create(name=f"{prefix}-{number}", url=stage.receiver.url)
            self._kinds[Subscription.objects.create(app=app, repository=repository).id] = name, kinds
            self.repository_ids.append(str(repository.id))

    def __len__(self) -> int:
        return len(self._kinds)

    def set_active(self, is_active: bool) -> None:
        from syncsvc.models import Repository

        Repository.objects.filter(id__in=self.repository_ids).update(is_active=is_active)

    def ask(self) -> None:
        from syncsvc.models import Subscription, Trigger
        from syncsvc.sync.asking import ask_for_runs

        self.set_active(True)
        self._asked_at = timezone.now()
        ask_for_runs(Subscription.objects.filter(id__in=list(self._kinds)), Trigger.SYNC, asked_by="make bench")

    def at_work(self) -> int:
        from syncsvc.models import Status, Subscription

        return Subscription.objects.filter(id__in=list(self._kinds), status=Status.SYNCING).count()

    def waiting(self) -> int:
        """Remotes of which no run has ended since they were asked for."""
        from syncsvc.models import SyncRun

        ended = SyncRun.objects.filter(subscription__in=list(self._kinds), started_at__gte=self._asked_at)
        ended = ended.filter(finished_at__isnull=False).exclude(error_kind="")
        return len(self) - ended.values("subscription").distinct().count()

    def runs(self) -> int:
        from syncsvc.models import SyncRun

        return SyncRun.objects.filter(subscription__in=list(self._kinds), finished_at__isnull=False).count()

    def wrong(self) -> list[str]:
        """The remotes whose runs ended in another way than with their kind."""
        from syncsvc.models import SyncRun

        found = []
        for id, (name, kinds) in self._kinds.items():
            met = set(
                SyncRun.objects.filter(subscription=id, finished_at__isnull=False).values_list("error_kind", flat=True)
            )
            if not met or met - set(kinds):
                found.append(f"{name} ({', '.join(sorted(met)) or 'no run'})")
        return found


class _Watch:
    """The most that one worker and its gits have in memory, and that the mirrors take, while the `with` lasts."""

    def __init__(self, workers: list[int], mirrors: Path) -> None:
        self.memory = self.disk = 0
        self._workers, self._mirrors, self._over = workers, mirrors, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.25):
            each = (anonymous_bytes(pid) + anonymous_bytes_below(pid) for pid in self._workers)
            self.memory = max(self.memory, *each)
            self.disk = max(self.disk, bytes_of(self._mirrors))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _hostile(stage: Stage) -> Iterator[_Hostile]:
    command = [sys.executable, "-m", "benchmarks.hostile_remotes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT)
    assert process.stdout is not None
    try:
        hostile = _Hostile(stage, json.loads(process.stdout.readline()))
        yield hostile
        hostile.set_active(False)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
