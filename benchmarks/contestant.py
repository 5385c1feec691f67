"""The protocol between the benchmark and what it measures: a process that works each time it is told to.

Started, it prepares and prints `ready`; each line it reads is one go, whose words say on what, and is answered with one
line of JSON. The benchmark measures from its line to that answer, so that imports and preparations are nobody's cost.
"""

import json
import sys
from collections.abc import Callable


def serve(work: Callable[[list[str]], dict[str, float]]) -> None:
    answer("ready")
    for line in sys.stdin:
        answer(work(line.split()))


def answer(what: object) -> None:
    print(json.dumps(what), flush=True)
