"""A thread that plays the workers, and a terminal that plays a person, for the commands of operations."""

import os
import pty
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from django.db import connection

from syncsvc.models import Status, Subscription
from syncsvc.operations.release import go_on
from syncsvc.sync.pipeline import run_subscription


@contextmanager
def workers(*, pause: float = 0.02) -> Iterator[None]:
    """Runs whatever is queued, one after the other."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(pause):
            queued = Subscription.objects.filter(queued_at__isnull=False).exclude(status=Status.SYNCING)
            for id in queued.values_list("id", flat=True):
                run_subscription(id, worker="worker", settled=go_on)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


@contextmanager
def pressing_ctrl_c(*, after: float) -> Iterator[None]:
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


class Terminal:
    """Standard input and error are a terminal of its own; what a person types, and what they saw."""

    def __enter__(self) -> Self:
        self._person, program = pty.openpty()
        self._input, self._error = os.fdopen(os.dup(program), "r"), os.fdopen(program, "w")
        # Within the test: pytest's own capturing would replace them after a fixture.
        self._before = sys.stdin, sys.stderr
        sys.stdin, sys.stderr = self._input, self._error
        self.seen = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def type(self, text: str, *, after: float = 0.0) -> None:
        threading.Timer(after, os.write, (self._person, f"{text}\n".encode())).start()

    def __exit__(self, *error: object) -> None:
        sys.stdin, sys.stderr = self._before
        self._error.close()
        self._input.close()
        self._reader.join(5)
        os.close(self._person)

    def _read(self) -> None:
        try:
            while piece := os.read(self._person, 4096):
                self.seen += piece.decode()
        except OSError:  # the program has closed its side
            return
