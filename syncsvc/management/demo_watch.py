"""What happens once everything runs: subscribe, watch it arrive, say so, and go on watching.

It is a process of its own, because its settings are those that `make up` writes while it starts.
"""

import os
import time
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import TextIO

from django.db.models import Q

from syncsvc.exceptions import BoundaryError
from syncsvc.management.adding import add_repository
from syncsvc.management.demo_check import compare
from syncsvc.management.demo_receiver import ReceiverClient
from syncsvc.management.demo_source import GitFailedError, Source
from syncsvc.management.terminal import ProgressLine
from syncsvc.models import App, Operation, Repository, Snapshot, Status, Subscription, SyncRun, Trigger
from syncsvc.operations import pausing
from syncsvc.operations.asker import Asker
from syncsvc.operations.removal import remove
from syncsvc.store import circuits, throttles
from syncsvc.store.clock import database_time
from syncsvc.sync.asking import ask_for_runs
from syncsvc.visible import visible_line
from syncsvc.words import changes, counted, plural

APP = "demo-receiver"
DEMO = Asker(name="demo", source=Operation.Source.COMMAND)
POLL_SECONDS = 2
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the process that started everything knows."""

    url: str
    branch: str
    receiver_port: int
    receiver_is_new: bool
    secret: str
    console: str
    login: str
    log_dir: str
    check: bool
    timeout: float
    app: str = APP
    trouble: bool = False


class DemoFailedError(Exception):
    """Not everything arrived; the message says why."""


class Demo:
    def __init__(self, facts: Facts, receiver: ReceiverClient, out: TextIO) -> None:
        self._facts, self._receiver, self._out = facts, receiver, out
        self._progress = ProgressLine(out)
        self._parent = os.getppid()
        self._told = ""  # why nothing has arrived yet, as it was said last

    def run(self) -> bool:
        """Until Ctrl-C, or to the end of a check; whether all is well."""
        try:
            since = database_time()
            subscription = subscribed(self._facts)
            run = self._first_sync(subscription, since)
            if self._facts.check:
                return self._check(subscription, run)
            self._follow(subscription, run)
        except (DemoFailedError, GitFailedError, BoundaryError, HTTPException, OSError) as error:
            self._say(f"failed: {error}")
            return False
        return True

    def _first_sync(self, subscription: Subscription, since: datetime) -> SyncRun:
        repository = str(subscription.repository_id)
        held_before, before = self._held(repository), self._receiver.status()
        ask_for_runs(Subscription.objects.filter(id=subscription.id), Trigger.SYNC, asked_by="demo")
        started = time.monotonic()
        while not (run := self._arrived(subscription, since)):
            seconds = time.monotonic() - started
            self._give_up_if_hopeless(subscription, since, seconds)
            now = self._receiver.status()
            rate = (now["verified"] - before["verified"]) / seconds if seconds else 0
            files = (
                f"{held_before + now['files'] - before['files']} of {self._total(subscription) or '?'} files verified"
            )
            self._show(f"{files}, {rate:.0f} a second, {counted(now['rejected'] - before['rejected'], 'failure')}")
            time.sleep(LOOK_SECONDS)
        self._say_arrived(subscription, run, ((run.finished_at or since) - since).total_seconds())
        return run

    def _arrived(self, subscription: Subscription, since: datetime) -> SyncRun | None:
        """The run that has brought everything; None while there is none."""
        synced = subscription.runs.filter(started_at__gte=since, outcome=SyncRun.Outcome.SYNCED)
        return synced.order_by("started_at").first()

    def _say_arrived(self, subscription: Subscription, run: SyncRun, seconds: float) -> None:
        held = self._held(str(subscription.repository_id))
        self._say(f"{held} of {self._total(subscription, run)} files delivered and verified in {seconds:.1f} s")

    def _give_up_if_hopeless(self, subscription: Subscription, since: datetime, seconds: float) -> None:
        """A failed subscription would be tried again, but not soon."""
        subscription.refresh_from_db()
        ended = subscription.runs.filter(started_at__gte=since).exclude(outcome__in=["", SyncRun.Outcome.INTERRUPTED])
        last = ended.order_by("started_at").last()
        why = f"{last.error_kind}: {last.error}" if last and last.error_kind else ""
        if subscription.status == Status.FAILED and last:
            raise DemoFailedError(why)
        if why not in {"", self._told}:
            self._told = why
            self._say(f"not yet: {why}")
        if seconds > self._facts.timeout:
            why = why or f"it is {subscription.status}; the logs in {self._facts.log_dir} may say why"
            raise DemoFailedError(f"not everything arrived within {self._facts.timeout:.0f} s. {why}")

    def _check(self, subscription: Subscription, run: SyncRun) -> bool:
        source = Source(self._facts.url, self._facts.branch)
        self._show("comparing every byte with git")
        result = compare(source, run.to_commit, self._receiver, str(subscription.repository_id))
        for problem in result.shown_problems:
            self._say(problem)
        if result.problems:
            differ = plural(len(result.problems), "file differs", "files differ")
            self._say(f"failed: {len(result.problems):,} {differ} from git at {run.to_commit}")
            return False
        exactly = f"the receiver holds exactly the {counted(result.files, 'file')} of commit {run.to_commit[:12]}"
        self._say(f"{exactly}, byte for byte and mode for mode{result.left_out}")
        return True

    def _follow(self, subscription: Subscription, last: SyncRun) -> None:
        self._say(f"the console is at {self._facts.console}")
        self._say(self._facts.login)
        self._say(f"commit to {self._facts.url}, and watch it arrive here; Ctrl-C ends everything")
        seen = last.finished_at
        changed = Q(created__gt=0) | Q(updated__gt=0) | Q(deleted__gt=0) | ~Q(outcome=SyncRun.Outcome.SYNCED)
        while os.getppid() == self._parent:
            ended = subscription.runs.filter(changed, finished_at__gt=seen)
            for run in ended.exclude(outcome=SyncRun.Outcome.INTERRUPTED).order_by("finished_at"):
                self._say(_change_line(run))
                seen = run.finished_at
            time.sleep(LOOK_SECONDS)

    def _total(self, subscription: Subscription, run: SyncRun | None = None) -> int:
        """Files of the commit of a run, or of the newest; 0 where it is not known yet."""
        snapshots = Snapshot.objects.filter(repository=subscription.repository_id)
        if run is not None:
            snapshots = snapshots.filter(commit=run.to_commit)
        newest = snapshots.order_by("-id").first()
        return newest.files if newest else 0

    def _held(self, repository: str) -> int:
        return sum(1 for _ in self._receiver.files(repository))

    def _show(self, line: str) -> None:
        self._progress.show(f"demo: {line}")

    def _say(self, line: str) -> None:
        self._progress.clear()
        self._out.write(f"demo: {visible_line(line)}\n")
        self._out.flush()


def subscribed(facts: Facts) -> Subscription:
    """The app, the repository and the subscription, made now or by an earlier demo."""
    app = App.objects.filter(name=facts.app).first() or App(name=facts.app)
    app.url = f"http://127.0.0.1:{facts.receiver_port}/"
    app.set_secret(facts.secret)
    if app._state.adding:
        app.save()
    else:
        app.save(update_fields=["url", "secret"])
        circuits.endpoint_answered(app.id)  # an earlier demo may have ended with its circuit open, or throttled
        throttles.forget(app.id)
    if facts.receiver_is_new:  # what an earlier one held is gone: it has to be sent again
        remove(Subscription.objects.filter(app=app), DEMO)
    repository = Repository.objects.filter(url=facts.url, branch=facts.branch).first()
    if repository is None:
        repository = Repository(url=facts.url, branch=facts.branch, poll_seconds=POLL_SECONDS)
        add_repository(repository, DEMO, name=None)
    for rows in (
        App.objects.filter(id=app.id),
        Repository.objects.filter(id=repository.id),
        Subscription.objects.filter(app=app, repository=repository),
    ):
        pausing.resume(rows, DEMO)
    return Subscription.objects.get_or_create(app=app, repository=repository)[0]


def put_away(facts: Facts) -> None:
    """Pauses what only the demo can reach: a system without its receiver and its settings would see it fail."""
    reason = "The demo is not running; make demo starts it again."
    pausing.pause(App.objects.filter(name=facts.app), DEMO, reason=reason)
    others = Subscription.objects.exclude(app__name=facts.app)
    alone = Repository.objects.filter(url=facts.url, branch=facts.branch).exclude(subscriptions__in=others)
    pausing.pause(alone, DEMO)


def _change_line(run: SyncRun) -> str:
    files = counted(run.delivered, "file")
    kinds = changes(created=run.created, updated=run.updated, deleted=run.deleted, nothing="nothing planned")
    if run.outcome == SyncRun.Outcome.SYNCED:
        return f"{files} verified: {kinds} at {run.to_commit[:12]}"
    return f"{run.outcome} after {files} ({kinds}): {run.error_kind}: {run.error}"
