"""Asks for runs, and waits for them where that is wanted."""

import os
import signal
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.db import transaction

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.runs import run_line, run_row
from syncsvc.management.selectors import add_selectors, selected
from syncsvc.management.terminal import ProgressLine
from syncsvc.management.waiting import Pauses, Waiting
from syncsvc.models import Subscription, SyncRun, Trigger
from syncsvc.stopping import STOPPING
from syncsvc.store.clock import database_time
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.health import health
from syncsvc.sync.pipeline import run_subscription

type Ended = tuple[Subscription, SyncRun | None]  # no run: it has not ended


class Command(base.Command):
    help = "Asks for a run of each subscription: the remote is looked at afresh, and what is new is delivered."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selectors(parser)
        parser.add_argument("--all", action="store_true", help="every subscription")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--wait", action="store_true", help="until each run has ended")
        how.add_argument("--inline", action="store_true", help="run them in this process; no worker is needed")
        base.add_positive(parser, "--timeout", metavar="SECONDS", help="how long --wait waits (default: for ever)")
        parser.add_argument("--allow-deletes", action="store_true", help="these runs may delete as much as they find")

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        self.progress = ProgressLine(sys.stderr, quiet=True)
        self.waits = options["wait"] or options["inline"]
        rows = self._rows(self._runs(options))
        allow_deletes = options["allow_deletes"]
        lines = (run_line(row, allow_deletes=allow_deletes) for row in rows)
        return base.Answer(document={"runs": rows}, lines=lines)

    def _runs(self, options: Mapping[str, Any]) -> Iterable[Ended]:
        """Asks; the runs come as they end."""
        subscriptions = _chosen(options)
        self.left_out = {subscription.id for subscription in subscriptions if subscription.paused}
        since = database_time()
        wanted = Subscription.objects.filter(id__in=[subscription.id for subscription in subscriptions])
        if options["inline"]:
            with transaction.atomic():  # no worker is woken: this process is the worker
                wanted.request(Trigger.SYNC, asked_by="sync --inline", allow_deletes=options["allow_deletes"])
            return self._run_here(Waiting(subscriptions, since=since))
        ask_for_runs(wanted, Trigger.SYNC, asked_by="sync", allow_deletes=options["allow_deletes"])
        self.note_if_nobody_is_woken()
        waiting = Waiting(subscriptions, since=since)
        if options["wait"]:
            self._say_if_nobody_works()
            return self._wait(waiting, options["timeout"])
        return ((subscription, None) for subscription in waiting.still())

    def _rows(self, runs: Iterable[Ended]) -> Iterator[dict[str, Any]]:
        for subscription, run in runs:
            left_out = run is None and subscription.id in self.left_out
            if self.waits and not left_out and (run is None or run.outcome != SyncRun.Outcome.SYNCED):
                self.exit_code = 1
            yield run_row(subscription, run)

    def _wait(self, waiting: Waiting, timeout: int | None) -> Iterator[Ended]:
        deadline = None if timeout is None else time.monotonic() + timeout
        total, pauses = len(waiting.ids), Pauses()
        try:
            while waiting.ids and (deadline is None or time.monotonic() < deadline):
                yield from self._ended(waiting)
                if waiting.ids:
                    syncing, queued = waiting.counts()
                    self.progress.show(f"{total - len(waiting.ids)} of {total} ended, {syncing} run, {queued} wait")
                    pauses.sleep()
        except KeyboardInterrupt:
            self.progress.clear()
        if waiting.ids:
            self.progress.clear()
            self.note("What has not ended goes on without this command; `manage.py status` shows it.")
            yield from ((subscription, None) for subscription in waiting.still())

    def _run_here(self, waiting: Waiting) -> Iterator[Ended]:
        worker = f"inline@{socket.gethostname()}:{os.getpid()}"
        with _ctrl_c_hands_back():
            for id in list(waiting.ids):
                pauses = Pauses()
                while id in waiting.ids and not STOPPING.is_set():
                    self.progress.show(f"running, {len(waiting.ids)} to go")
                    ran = run_subscription(id, worker=worker)
                    yield from self._ended(waiting)
                    if ran is None and id in waiting.ids:  # it runs elsewhere, or waits for another's fetch
                        pauses.sleep()
            yield from ((subscription, None) for subscription in waiting.still())

    def _ended(self, waiting: Waiting) -> Iterator[Ended]:
        ended = [(run.subscription, run) for run in waiting.ended()]
        paused = [(subscription, None) for subscription in waiting.given_up()]
        if ended or paused:
            self.progress.clear()
        yield from ended
        yield from paused

    def _say_if_nobody_works(self) -> None:
        state = health()
        if state["redis"] and not state["workers"]:
            self.note("No worker has been seen for a minute; `make up` starts some, and --inline needs none.")


def _chosen(options: Mapping[str, Any]) -> list[Subscription]:
    if not (options["all"] or options["subscriptions"] or options["app"] or options["repository"]):
        raise Refused("usage", "Say which: name subscriptions (APP/REPOSITORY), or give --app, --repository or --all.")
    if options["timeout"] and not options["wait"]:
        raise Refused("usage", "--timeout is for --wait; give both.")
    subscriptions = list(selected(options).select_related("app", "repository"))
    paused = [str(subscription) for subscription in subscriptions if subscription.paused]
    # Only where it was named: one paused app must not keep `sync --all` from its work.
    if paused and options["subscriptions"] and (options["wait"] or options["inline"]):
        rest = f" and {len(paused) - 3} more are" if len(paused) > 3 else " is" if len(paused) == 1 else " are"
        raise Refused(
            "conflict", f"{', '.join(paused[:3])}{rest} paused: resume first, or ask without --wait and --inline."
        )
    return subscriptions


@contextmanager
def _ctrl_c_hands_back() -> Iterator[None]:
    """Ctrl-C ends a run as it ends a worker's: what is in flight is recorded, the rest is for the next run."""

    def stop(number: int, frame: FrameType | None) -> None:
        STOPPING.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
