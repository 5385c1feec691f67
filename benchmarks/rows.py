"""The rows of the table: each measures syncsvc beside what it is held against, run by run in turn."""

import os
import shutil
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bulk_rows import beside_bulk, retry_rate, start_time, statements
from benchmarks.hostile_rows import among_the_hostile
from benchmarks.pages import pages
from benchmarks.result import MB, Result, Scale
from benchmarks.slow_clients import slow_clients
from benchmarks.slow_rows import among_the_slow
from benchmarks.stage import Contestant, Stage, content_of, path_of, watched_children
from tests.gitrepo import GitRepo

WITHIN_MB = 40
LOOP_GOAL, PLAIN_GOAL = 0.5, 15.0


def first_sync(stage: Stage, scale: Scale) -> list[Result]:
    """Rows 1 and 2."""
    repo = stage.repository(scale.first_sync, 4096)
    ours, loop, plain, busy = [], [], [], []
    with ExitStack() as exit:
        worker = exit.enter_context(stage.worker())
        bare_loop = exit.enter_context(stage.bare_loop(repo))
        plain_way = exit.enter_context(stage.plain_way(repo, scale.plain_files))
        bare_loop.go()
        for _ in range(scale.rounds):
            stage.settle_down()
            ours.append(_rate(stage, worker, scale.first_sync, *stage.subscribe(repo)))
            stage.settle_down()
            cpu, began = stage.receiver.cpu_seconds(), time.perf_counter()
            loop.append(_rate(stage, bare_loop, scale.first_sync))
            busy.append((stage.receiver.cpu_seconds() - cpu) / (time.perf_counter() - began))
            plain.append(_rate(stage, plain_way, scale.plain_files))
    mine, bare, simple = (statistics.median(rates) for rates in (ours, loop, plain))
    what = f"first sync, {scale.first_sync:,} files of 4 KB, one app"
    return [
        Result(
            what,
            "the bare loop",
            f"{mine:,.0f} files/s",
            f"{bare:,.0f} files/s",
            f"{mine / bare:.2f}",
            f"≥ {LOOP_GOAL}",
            mine / bare >= LOOP_GOAL,
            [
                f"The receiver used {statistics.median(busy):.0%} of a core at the bare loop's rate.",
                f"syncsvc's rates: {_each(ours)}; the bare loop's: {_each(loop)} files/s.",
            ],
        ),
        Result(
            "the same",
            "the plain way",
            f"{mine:,.0f} files/s",
            f"{simple:,.0f} files/s",
            f"{mine / simple:.1f}",
            f"≥ {PLAIN_GOAL:.0f}",
            mine / simple >= PLAIN_GOAL,
            [f"The plain way's rates, over {scale.plain_files:,} files: {_each(plain)} files/s."],
        ),
    ]


def ten_apps(stage: Stage, scale: Scale) -> list[Result]:
    """Row 3, with the worker processes that `make up` starts: one a core."""
    repo = stage.repository(scale.first_sync, 4096)
    fetches = _CountedGit(stage.folder)
    one, ten, counted = [], [], []
    with ExitStack() as exit:
        workers = [exit.enter_context(stage.worker(fetches.environment)) for _ in range(_processes())]
        for _ in range(scale.rounds):
            stage.settle_down()
            one.append(_shared_out(stage.subscribe(repo), workers))
            stage.settle_down()
            before = fetches.count()
            ten.append(_shared_out(stage.subscribe(repo, apps=10), workers) / 10)
            counted.append(fetches.count() - before)
    alone, each = statistics.median(one), statistics.median(ten)
    return [
        Result(
            f"first sync, {scale.first_sync:,} files, ten apps: cost per app",
            "one app",
            f"{each:.2f} s",
            f"{alone:.2f} s",
            f"{each / alone:.2f}",
            "≤ 1, one fetch",
            each <= alone and set(counted) == {1},
            [f"Fetches of the ten: {', '.join(map(str, counted))}; by {_processes()} worker processes."],
        )
    ]


def _shared_out(ids: list[uuid.UUID], workers: list[Contestant]) -> float:
    """Seconds until the last of these runs has ended."""
    began = time.perf_counter()
    for number, worker in enumerate(workers):
        worker.start(*ids[number :: len(workers)])
    for worker in workers:
        worker.finish()
    return time.perf_counter() - began


class _CountedGit:
    """A `git` in front of git that notes each fetch."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "fetches"
        self._notes.touch()
        command = folder / "counted" / "git"
        command.parent.mkdir(exist_ok=True)
        git = shutil.which("git")
        command.write_text(f'#!/bin/sh\n[ "$1" = fetch ] && echo fetch >> "{self._notes}"\nexec "{git}" "$@"\n')
        command.chmod(0o755)
        self.environment = {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}

    def count(self) -> int:
        return len(self._notes.read_text(encoding="ascii").splitlines())


def no_change(stage: Stage, scale: Scale) -> list[Result]:
    """Row 4."""
    repo, subscription_id, worker = _delivered(stage, scale)
    ours, git = [], []
    with worker:
        for _ in range(scale.short_rounds):
            stage.ask(subscription_id)
            ours.append(worker.go(subscription_id) * 1000)
            git.append(_timed("git", "ls-remote", str(repo.path), "HEAD") * 1000)
    return [
        _milliseconds(f"asked for, no change, {scale.known:,} files delivered", "git ls-remote", ours, git, 1.5, 20)
    ]


def ten_changed(stage: Stage, scale: Scale) -> list[Result]:
    """Row 5. git fetches the same commit into a mirror that was equal before; who goes first changes each time."""
    repo, subscription_id, worker = _delivered(stage, scale)
    mirror = stage.mirror_of(subscription_id)
    equal = stage.folder / "equal.git"
    shutil.copytree(mirror, equal)
    ours, git = [], []
    with worker:
        for round in range(scale.short_rounds):
            numbers = range(round, scale.known, scale.known // 10)[:10]
            repo.commit({path_of(n): content_of(n, 1024, version=round + 1) for n in numbers})
            stage.ask(subscription_id)
            for mine in (True, False) if round % 2 else (False, True):
                if mine:
                    ours.append(worker.go(subscription_id) * 1000)
                else:
                    git.append(_timed(*_fetch(repo, equal, name=round)) * 1000)
    return [_milliseconds(f"10 files changed of {scale.known:,}", "git fetch", ours, git, 2, 50)]


def memory_of_many(stage: Stage, scale: Scale) -> list[Result]:
    """Row 6."""
    few, many = (_peak(stage, stage.repository(files, 256)) for files in (1_000, scale.many))
    return [_within(f"peak memory of the worker, {scale.many:,} files", "1,000 files", many, few)]


def memory_of_big(stage: Stage, scale: Scale) -> list[Result]:
    """Row 7."""
    small, big = (_peak(stage, _one_file(stage, size)) for size in (MB, scale.big))
    return [_within(f"one file of {scale.big // MB:,} MB, in parts", "one of 1 MB", big, small)]


ROWS: dict[str, Callable[[Stage, Scale], list[Result]]] = {
    "first-sync": first_sync,
    "ten-apps": ten_apps,
    "no-change": no_change,
    "ten-changed": ten_changed,
    "many-files": memory_of_many,
    "big-file": memory_of_big,
    "bulk-retry": retry_rate,
    "bulk-start": start_time,
    "bulk-statements": statements,
    "live-beside-bulk": beside_bulk,
    "among-the-slow": among_the_slow,
    "among-the-hostile": among_the_hostile,
    "pages": pages,
    "slow-clients": slow_clients,
}


def _delivered(stage: Stage, scale: Scale) -> tuple[GitRepo, uuid.UUID, Contestant]:
    """A subscription whose app has everything, and its worker; it was told in batches, to save time."""
    repo = stage.repository(scale.known, 1024)
    [subscription_id] = stage.subscribe(repo, max_batch=200)
    worker = stage.worker()
    worker.go(subscription_id)
    stage.settle_down()
    return repo, subscription_id, worker


def _fetch(repo: GitRepo, mirror: Path, *, name: int) -> list[str]:
    """As syncsvc fetches."""
    options = ["--quiet", "--depth=1", "--no-tags", "--force", "--no-write-fetch-head"]
    what = f"refs/heads/main:refs/syncsvc/commits/{name}"
    return ["git", f"--git-dir={mirror}", "-c", "gc.auto=0", "fetch", *options, f"file://{repo.path}", what]


def _peak(stage: Stage, repo: GitRepo) -> tuple[float, float]:
    """MB of the worker itself, and of its git children at their peak."""
    ids = stage.subscribe(repo)
    with stage.worker() as worker, watched_children(worker.pid) as children:
        worker.start(*ids)
        result = worker.finish()
    return result["peak"] / MB, children[0] / MB


def _one_file(stage: Stage, size: int) -> GitRepo:
    """A remote with one file that does not compress; git keeps it as it is."""
    repo = GitRepo(stage.folder / f"one-of-{size}.git")
    repo.git("config", "core.compression", "0")
    file = stage.folder / "content"
    with file.open("wb") as content:
        for _ in range(size // MB):
            content.write(os.urandom(MB))
    blob = repo.git("hash-object", "-w", "--no-filters", "--", str(file)).decode().strip()
    file.unlink()
    repo.commit_tree(repo.mktree([("100644", blob, b"big.bin")]))
    return repo


def _rate(stage: Stage, contestant: Contestant, files: int, *on: object) -> float:
    """Files a second; what was sent is what arrived."""
    before = stage.receiver.requests()
    rate = files / contestant.go(*on)
    arrived = stage.receiver.requests() - before
    assert arrived == files, f"{arrived} requests arrived for {files} files"
    return rate


def _timed(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def _milliseconds(what: str, against: str, ours: list[float], theirs: list[float], times: float, plus: float) -> Result:
    mine, other = statistics.median(ours), statistics.median(theirs)
    most = times * other + plus
    return Result(
        what,
        against,
        f"{mine:.0f} ms",
        f"{other:.0f} ms",
        f"{mine / other:.2f}",
        f"≤ {times:g} × + {plus:g} ms = {most:.0f} ms",
        mine <= most,
        [f"syncsvc's: {_each(ours)}; {against}'s: {_each(theirs)} ms."],
    )


def _within(what: str, against: str, large: tuple[float, float], small: tuple[float, float]) -> Result:
    more = large[0] - small[0]
    return Result(
        what,
        against,
        f"{large[0]:.0f} MB",
        f"{small[0]:.0f} MB",
        f"+{more:.0f} MB",
        f"≤ + {WITHIN_MB} MB",
        more <= WITHIN_MB,
        [
            f"The worker's own peak (VmHWM). Its git children had at most {large[1]:.0f} MB against {small[1]:.0f} MB"
            " (anonymous pages, all together)."
        ],
    )


def _processes() -> int:
    return os.cpu_count() or 1


def _each(values: list[float]) -> str:
    return ", ".join(f"{value:,.0f}" for value in values)
