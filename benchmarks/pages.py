"""The rows about the console: every page and live part over a full database, first loads, and many open tabs."""

import gc
import statistics as stats
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.console import Console, Statement
from benchmarks.operator import Operator, Weight
from benchmarks.page_table import PAGES, PARTS, TABS, Page
from benchmarks.result import Result, Scale
from benchmarks.stage import Stage
from benchmarks.tabs import poll

WARM_UPS, REQUESTS = 3, 30
MEDIAN_MS, P95_MS, PART_MS = 100.0, 250.0, 20.0
PART_QUERIES = 2
LAST = 286  # of a part: what it shows has ended
WEIGHT_KB = 150
OPEN_TABS = 200
SHOWN = 160  # letters of a statement


class Measured(NamedTuple):
    path: str
    status: int
    times: list[float]
    cpu: float  # milliseconds of the web process, each
    statements: list[Statement]

    @property
    def median(self) -> float:
        return stats.median(self.times)

    @property
    def p95(self) -> float:
        return p95(self.times)


def pages(stage: Stage, scale: Scale) -> list[Result]:
    """Web as `make up` runs it; no worker and no scheduler beside it."""
    with Console(stage, scale.pages) as console:
        with console.web(processes=2) as operator:
            results = _rows(console, operator, PAGES, part=False)
        with console.web(processes=2, headers={"HX-Request": "true"}) as operator:
            results += _rows(console, operator, PARTS, part=True)
        with console.web(processes=1) as operator:
            results += [_heaviest(console, operator), _open_tabs(console, operator, scale)]
        results[0].notes.append(f"The rows were made in {console.seconds:.0f} s.")
    return results


def _rows(console: Console, operator: Operator, table: Mapping[str, Page], *, part: bool) -> list[Result]:
    paths = {name: page.path(console.connection) for name, page in table.items()}
    timed = {name: _timed(console, operator, path) for name, path in paths.items()}
    results = []
    with console.logged():
        for name, path in paths.items():
            with console.statements() as statements:
                operator.get(path)
            results.append((_part if part else _page)(name, Measured(path, *timed[name], statements)))
    return results


def _timed(console: Console, operator: Operator, path: str) -> tuple[int, list[float], float]:
    for _ in range(WARM_UPS):
        operator.get(path)
    before = console.cpu()
    answers = [operator.timed(path) for _ in range(REQUESTS)]
    cpu = (console.cpu() - before) / REQUESTS * 1000
    return answers[-1][0], [milliseconds for _, milliseconds in answers], cpu


def _page(name: str, page: Measured) -> Result:
    met = page.status == 200 and page.median < MEDIAN_MS and page.p95 < P95_MS
    goal = f"median < {MEDIAN_MS:.0f} ms, p95 < {P95_MS:.0f} ms"
    return _row(f"page: {name}", page, goal, met)


def _part(name: str, part: Measured) -> Result:
    met = part.status in (200, LAST) and part.median < PART_MS and len(part.statements) <= PART_QUERIES
    return _row(f"part: {name}", part, f"median < {PART_MS:.0f} ms, ≤ {PART_QUERIES} queries", met)


def _row(what: str, page: Measured, goal: str, met: bool) -> Result:
    queries = f"{len(page.statements)} queries of {sum(s.milliseconds for s in page.statements):.0f} ms"
    slow = sorted(page.statements, reverse=True)[:2]
    notes = [f"{page.path}", *(f"{s.milliseconds:.0f} ms: {_short(s.text)}" for s in slow if s.milliseconds > 5)]
    if page.status not in (200, LAST):
        notes.insert(0, f"Answered with {page.status}.")
    return Result(
        what, queries, f"{page.median:.0f} ms", f"p95 {page.p95:.0f} ms", f"CPU {page.cpu:.0f} ms", goal, met, notes
    )


def _short(text: str) -> str:
    flat = " ".join(text.replace('"', "").split())
    start = flat.find(" FROM ")
    return flat if len(flat) <= SHOWN else f"SELECT …{flat[start : start + SHOWN]}…"


def _heaviest(console: Console, operator: Operator) -> Result:
    weights: dict[str, Weight] = {}
    for name, page in PAGES.items():
        path = page.path(console.connection)
        if operator.get(path)[0] == 200:
            weights[name] = operator.first_load(path)
    name, weight = max(weights.items(), key=lambda item: item[1].sent)
    elsewhere = sorted({host for w in weights.values() for host in w.elsewhere})
    met = weight.sent < WEIGHT_KB * 1000 and not elsewhere
    each = ", ".join(f"{name} {w.sent / 1000:.0f} ({w.compressed / 1000:.0f})" for name, w in weights.items())
    return Result(
        f"first load, the heaviest page ({name})",
        f"{weight.assets} assets",
        f"{weight.sent / 1000:.0f} kB",
        f"{weight.compressed / 1000:.0f} kB gzipped",
        "–",
        f"< {WEIGHT_KB} kB, no other host",
        met,
        [f"kB as sent (as a compressing proxy would send it): {each}.", f"Other hosts: {elsewhere or 'none'}."],
    )


def _open_tabs(console: Console, operator: Operator, scale: Scale) -> Result:
    path = TABS.path(console.connection)
    operator.get(path)
    gc.collect()
    before = console.cpu()
    times, statuses = poll(operator.port, path, operator.cookie, tabs=OPEN_TABS, seconds=scale.tabs_seconds)
    cpu = (console.cpu() - before) / len(times) * 1000
    return Result(
        f"{OPEN_TABS} open tabs on one web process",
        f"every 2 s for {scale.tabs_seconds:.0f} s",
        f"p95 {p95(times):.0f} ms",
        f"median {stats.median(times):.0f} ms",
        "–",
        f"p95 < {P95_MS:.0f} ms",
        p95(times) < P95_MS and statuses <= {200},
        [
            f"{path}: {len(times)} answers, {len(times) / scale.tabs_seconds:.0f} a second, CPU {cpu:.1f} ms each,"
            f" statuses {sorted(statuses)}."
        ],
    )


def p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]
