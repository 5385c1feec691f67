"""The protocol between the benchmark and what it measures: a process that works each time it is told to.

Started, it prepares and prints `ready`; each line it reads is one go, answered with one line of JSON. The benchmark
measures from its line to that answer, so that imports and preparations are nobody's cost.
"""

import json
import sys
from collections.abc import Callable


def serve(work: Callable[[], dict[str, float]]) -> None:
    answer("ready")
    for _ in sys.stdin:
        answer(work())


def answer(what: object) -> None:
    print(json.dumps(what), flush=True)
