"""The rows about bulk operations: on the whole system, its worker processes and its scheduler."""

import re
import statistics as stats
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from benchmarks.fleet import REPOSITORIES, Fleet
from benchmarks.result import Result, Scale
from benchmarks.stage import Receiver, Stage, content_of, path_of
from benchmarks.system import PlainLoop, Processes, System, wait_for

RATE_GOAL = 3.0
START_MS, START_TIMES = 200.0, 10.0
STATEMENTS_GOAL = 6.0
BESIDE_GOAL = 2.0
# What the log calls a statement and asks nothing: bounds of transactions, settings, whether a connection is alive.
BOUNDS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SELECT 1", "SHOW", "SET ")
LOGGED = re.compile(r"^\S+ \S+ UTC \[(\d+)\] LOG:  (?:statement|execute [^:]+): (.*(?:\n(?!\d{4}-).*)*)", re.MULTILINE)


def retry_rate(stage: Stage, scale: Scale) -> list[Result]:
    """Bulk row 1. The plain loop takes fewer subscriptions: its rate does not change with their number."""
    fleet, plain = _fleet(stage, scale.bulk_apps), _fleet(stage, scale.few_apps)
    _clone(plain)
    _let_only_work(fleet, plain)
    ours, theirs, used, plain_used = [], [], Counter[str](), Counter[str]()
    for _ in range(scale.bulk_rounds):
        with System(stage) as system:
            _warm_up(system, fleet)
            fleet.change()
            ours.append(_rate(system, fleet, system.retry_all, used))
        with PlainLoop(stage) as loop:
            plain.change()
            theirs.append(_rate(loop, plain, lambda: _plain_loop(plain), plain_used))
    mine, other = stats.median(ours), stats.median(theirs)
    return [
        Result(
            f"bulk retry, {len(fleet):,} items, one file changed each",
            "the plain loop",
            f"{mine:.1f} items/s",
            f"{other:.1f} items/s",
            f"{mine / other:.2f}",
            f"≥ {RATE_GOAL:.0f}",
            mine / other >= RATE_GOAL,
            [
                f"{scale.bulk_apps} apps that follow {REPOSITORIES} repositories each; the plain loop's"
                f" {scale.few_apps}: {len(plain):,}.",
                f"CPU an item: {_each_use(used, len(fleet) * scale.bulk_rounds)};"
                f" the plain loop's: {_each_use(plain_used, len(plain) * scale.bulk_rounds)}.",
            ],
        )
    ]


def start_time(stage: Stage, scale: Scale) -> list[Result]:
    """Bulk row 2. No workers: what is measured is what a request waits for."""
    from django.db import connection

    from syncsvc.models import Repository
    from syncsvc.store.operations import cancel_operation

    few: list[float] = []
    many: list[float] = []
    fleet, system = _frozen(apps=scale.frozen // 100), System(stage)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as autovacuum does it meanwhile
    for _ in range(5):
        for chosen, times, count in ((fleet[:1], few, 100), (fleet, many, scale.frozen)):
            Fleet.fail(chosen)
            began = time.perf_counter()
            operation = system.retry()
            times.append((time.perf_counter() - began) * 1000)
            assert operation.total == count, f"{operation.total} instead of {count}"
            cancel_operation(operation.id)
            Fleet.rest(chosen)
    Repository.objects.filter(subscriptions__app__in=fleet).update(is_active=False)  # other rows run a scheduler
    long, short = stats.median(many), stats.median(few)
    return [
        Result(
            f"time to answer the start of {scale.frozen:,} items",
            "100 items",
            f"{long:.0f} ms",
            f"{short:.0f} ms",
            f"{long / short:.1f}",
            f"≤ {START_MS:.0f} ms, ≤ {START_TIMES:.0f}",
            long <= START_MS and long <= START_TIMES * short,
            [f"Each, ms: {', '.join(f'{ms:.0f}' for ms in many)}; of 100: {', '.join(f'{ms:.0f}' for ms in few)}."],
        )
    ]


def statements(stage: Stage, scale: Scale) -> list[Result]:
    """Bulk row 3: PostgreSQL's own log of all that workers and scheduler ask of it."""
    fleet = _fleet(stage, scale.few_apps)
    _let_only_work(fleet)
    with System(stage) as system:
        _warm_up(system, fleet)
        fleet.change()
        with _logged(stage) as counted:
            began = time.perf_counter()
            system.retry_all()
            seconds = time.perf_counter() - began
    each = sum(counted.values()) / len(fleet)
    most = "; ".join(f"{count / len(fleet):.2f} {sql}" for sql, count in counted.most_common(16))
    return [
        Result(
            "statements an item settled",
            "–",
            f"{each:.1f}",
            "–",
            "–",
            f"≤ {STATEMENTS_GOAL:.0f}",
            each <= STATEMENTS_GOAL,
            [f"{len(fleet)} items in {seconds:.0f} s, sweeps and leases included. {most}."],
        )
    ]


def beside_bulk(stage: Stage, scale: Scale) -> list[Result]:
    """Bulk row 4: the app of the live sync has a receiver of its own."""
    from syncsvc.store.operations import cancel_operation

    alone, beside = [], []
    receiver = Receiver()
    try:
        fleet, live = _fleet(stage, scale.bulk_apps), _Live(stage, receiver)
        _let_only_work(fleet, live.fleet)
        with System(stage) as system:
            _warm_up(system, fleet)
            live.sync()
            alone += [live.sync() for _ in range(scale.short_rounds)]
            fleet.change()
            operation = system.retry()
            wait_for(lambda: fleet.failed() < len(fleet) - 20, "The start of a bulk retry")
            for _ in range(scale.short_rounds):
                beside.append(live.sync())
                operation.refresh_from_db()
                if operation.ended:
                    break
            progress = operation.completed
            cancel_operation(operation.id)
    finally:
        receiver.close()
    busy, quiet = stats.median(beside), stats.median(alone)
    return [
        Result(
            f"a live sync beside a bulk retry of {len(fleet):,}: asked → last webhook",
            "alone",
            f"{busy:.0f} ms",
            f"{quiet:.0f} ms",
            f"{busy / quiet:.2f}",
            f"≤ {BESIDE_GOAL:.0f}",
            busy <= BESIDE_GOAL * quiet,
            [
                f"Each, ms: {', '.join(f'{ms:.0f}' for ms in beside)};"
                f" alone: {', '.join(f'{ms:.0f}' for ms in alone)}. {progress} items had settled by then."
            ],
        )
    ]


@cache
def _fleet(stage: Stage, apps: int) -> Fleet:
    """Made once, for all rows."""
    return Fleet(stage, apps)


def _let_only_work(*fleets: Fleet) -> None:
    """Pauses the repositories of earlier benchmark rows, because runs of theirs may be due."""
    from syncsvc.models import Repository

    chosen = [id for fleet in fleets for id in fleet.repos]
    Repository.objects.exclude(id__in=chosen).update(is_active=False)
    Repository.objects.filter(id__in=chosen).update(is_active=True)


class _Live:
    """A repository with an app of its own, one file of which changes before each sync."""

    def __init__(self, stage: Stage, receiver: Receiver) -> None:
        self._stage, self._receiver = stage, receiver
        self.fleet = Fleet(stage, 1, repositories=1, url=receiver.url)
        [self._repo] = self.fleet.repos.values()
        [self._id] = self.fleet.subscription_ids()
        self._version = 0

    def sync(self) -> float:
        """Milliseconds from the question to the last webhook."""
        self._version += 1
        self._repo.commit({path_of(0): content_of(self._version, 4096, version=7)})
        before = self._receiver.requests()
        began = time.perf_counter()
        self._stage.ask(self._id)
        while self._receiver.requests() == before:
            assert time.perf_counter() - began < 60, "the sync did not come"
            time.sleep(0.005)
        took = (time.perf_counter() - began) * 1000
        wait_for(lambda: _synced(self._id), "A live sync")
        return took


def _synced(subscription_id: uuid.UUID) -> bool:
    from syncsvc.models import Status, Subscription

    return Subscription.objects.filter(id=subscription_id, status=Status.SYNCED).exists()


def _warm_up(system: System, fleet: Fleet) -> None:
    """One app's: the workers have run before, and the mirrors are there."""
    Fleet.fail(fleet.apps[:1])
    system.retry_all()
    system.stage.settle_down()


def _rate(processes: Processes, fleet: Fleet, work: Callable[[], None], used: Counter[str]) -> float:
    """Items a second; every changed file arrived once."""
    processes.stage.settle_down()
    requests, before = processes.stage.receiver.requests(), processes.cpu()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    used.update({name: spent - before[name] for name, spent in processes.cpu().items()})
    arrived = processes.stage.receiver.requests() - requests
    assert arrived == len(fleet), f"{arrived} requests arrived for {len(fleet)} items"
    return len(fleet) / seconds


def _plain_loop(fleet: Fleet) -> None:
    from benchmarks.plain_loop import deliver

    for id in fleet.subscription_ids():
        deliver.delay(str(id))
    wait_for(lambda: not fleet.failed(), "The plain loop")


def _clone(fleet: Fleet) -> None:
    from benchmarks.plain_loop import clone

    for id, repo in fleet.repos.items():
        clone(id, str(repo.path))


def _frozen(apps: int) -> list[uuid.UUID]:
    """So many apps that follow the same 100 repositories, of which no git is needed."""
    from syncsvc.models import App, Repository, Subscription

    name = uuid.uuid4().hex[:8]
    known = [Repository(name=f"{name}/{n}", url=f"https://git.example/{name}/{n}") for n in range(100)]
    Repository.objects.bulk_create(known)
    made = [App.objects.create(name=f"{name}-{n}", url="https://app.example/hook") for n in range(apps)]
    Subscription.objects.bulk_create(
        (
            Subscription(app=app, repository=repository, status="synced", due_at=None)
            for app in made
            for repository in known
        ),
        batch_size=2_000,
    )
    return [app.id for app in made]


@contextmanager
def _logged(stage: Stage) -> Iterator[Counter[str]]:
    """The statements of all but this process, by their first words, in the Counter when the `with` ends."""
    from django.db import connection

    counted: Counter[str] = Counter()
    log = Path(stage.supervisor.log_dir, "postgres.log")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [own] = cursor.fetchone() or [0]
        cursor.execute("ALTER SYSTEM SET log_statement = 'all'")
        cursor.execute("SELECT pg_reload_conf()")
        start = log.stat().st_size
        try:
            yield counted
        finally:
            cursor.execute("ALTER SYSTEM RESET log_statement")
            cursor.execute("SELECT pg_reload_conf()")
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        for pid, sql in LOGGED.findall(file.read()):
            if int(pid) != own and (words := sql.strip()) and not words.startswith(BOUNDS):
                counted[_words(words)] += 1


def _words(sql: str) -> str:
    """Enough of a statement to know it by: what it is and its table."""
    flat = re.sub(r"\s+", " ", re.sub(r"'[^']*'|\b\d+\b", "…", sql)).replace('"', "")
    tables = re.findall(r"(?:FROM|INTO|UPDATE|COPY) (syncsvc_\w+)", flat)
    return f"{flat.split(' ', 1)[0]} {'+'.join(dict.fromkeys(t.removeprefix('syncsvc_') for t in tables)) or flat[:40]}"


def _each_use(used: Counter[str], items: int) -> str:
    return ", ".join(f"{name} {seconds / items * 1000:.1f} ms" for name, seconds in used.items())
