"""`make down`: ends whatever of this checkout still runs."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from syncsvc.management.process import end_leftover
from syncsvc.management.stack import SUPERVISOR

# The supervisor first: it ends the others in order, and would start again what is ended behind its back.
FIRST, LAST = (SUPERVISOR, "web", "scheduler"), ("valkey", "postgres")


class Command(BaseCommand):
    help = "Ends what `make up` or `make demo` left running. A process that is not ours is never touched."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        ended = []
        for file in sorted((settings.DATA_DIR / "run").glob("*.pid"), key=_order):
            if end_leftover(file, seconds=60 if file.stem == SUPERVISOR else 30):
                ended.append(file.stem)
        self.stdout.write(f"syncsvc: ended {', '.join(ended)}" if ended else "syncsvc: nothing was running")


def _order(file: Path) -> tuple[int, str]:
    name = file.stem
    if name in FIRST:
        return FIRST.index(name), name
    return len(FIRST) + 1 + (LAST.index(name) + 1 if name in LAST else 0), name
