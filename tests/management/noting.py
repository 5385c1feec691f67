"""The project's Celery app with a task that notes when it begins and ends, for tests of how workers take messages."""

import sys
import time
from pathlib import Path

from config.celery import app
from syncsvc.stopping import STOPPING


@app.task(name="tests.note")  # type: ignore[untyped-decorator, unused-ignore]
def note(file: str, name: str, seconds: float) -> None:
    with Path(file).open("a") as notes:
        notes.write(f"begin {name}\n")
        notes.flush()
        stopping = STOPPING.wait(seconds)
        time.sleep(0.3 if stopping else 0)
        notes.write(f"{'stop' if stopping else 'end'} {name}\n")


@app.task(name="tests.note_long_work")  # type: ignore[untyped-decorator, unused-ignore]
def note_long_work(file: str, name: str, seconds: float) -> None:
    from syncsvc.sync.slots import SLOTS  # Celery sets Django up, later than this module is read

    with SLOTS.other_work():
        note(file, name, seconds)


if __name__ == "__main__":
    app.worker_main(sys.argv[1:])
