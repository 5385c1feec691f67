"""`make bench`: measures and prints one table. `--only ROW` and `--quick` for less."""

import sys
import time
from argparse import ArgumentParser

from benchmarks.machine import describe
from benchmarks.result import QUICK, Result, Scale
from benchmarks.rows import ROWS
from benchmarks.stage import Stage

HEAD = ("what", "against", "measured", "reference", "ratio", "goal", "met")


def main() -> int:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a first look: smaller and fewer runs")
    options = parser.parse_args()
    scale = QUICK if options.quick else Scale()
    began = time.monotonic()
    results: list[Result] = []
    with Stage() as stage:
        machine = describe()
        for name in options.only or ROWS:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            results += ROWS[name](stage, scale)
    print(table(results))
    print(f"\nMachine: {machine}. {time.monotonic() - began:.0f} s in all.")
    for result in results:
        print(f"- {result.what}, against {result.against}: {' '.join(result.notes)}")
    return 0 if all(result.met for result in results) else 1


def table(results: list[Result]) -> str:
    rows = [HEAD] + [
        (r.what, r.against, r.measured, r.reference, r.ratio, r.goal, "yes" if r.met else "NO") for r in results
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
