"""The common part of `retry` and `resync`: selection, preview, confirmation, and waiting for the result."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.asking import add_asker, add_confirmation, asker, make_sure
from syncsvc.management.following import follow
from syncsvc.management.operation_lines import preview_lines
from syncsvc.management.runs import run_line, run_row
from syncsvc.management.selectors import add_selectors, find_app, find_repository, find_subscription
from syncsvc.management.terminal import ProgressLine
from syncsvc.management.waiting import Pauses, Waiting
from syncsvc.models import Operation, SyncRun
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.document import full_document
from syncsvc.operations.preview import Preview, Shown, preview, read_digest
from syncsvc.operations.progress import progress_of
from syncsvc.operations.scope import Scope
from syncsvc.operations.single import Queued
from syncsvc.operations.summary import summary, verb
from syncsvc.store.clock import database_time
from syncsvc.types import ErrorKind
from syncsvc.words import counted


class Selector(NamedTuple):
    """An option that gives a scope one of its conditions; `read` makes the condition's value of what is typed."""

    option: str
    condition: str
    read: Callable[[str], Any]


SELECTORS = (
    Selector("app", "app_id", lambda name: find_app(name).id),
    Selector("repository", "repository_id", lambda name: find_repository(name).id),
    Selector("error", "error_kind", ErrorKind),
    Selector("host", "host", str.lower),
)
FLAGS = ", ".join(f"--{selector.option}" for selector in SELECTORS)
WHICH = f"Say which: name subscriptions (APP/REPOSITORY), or give {FLAGS} or --all."
MOST = {"max_running": bulk.MOST_RUNNING, "abort_percent": bulk.MOST_PERCENT}


class Command(base.Command):
    """One subscription named is asked for at once; everything else is an operation."""

    kind: Operation.Kind
    single: Callable[[UUID, Asker], Queued]

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selectors(parser)
        parser.add_argument("--error", metavar="KIND", choices=[k.value for k in ErrorKind], help="failing with it")
        parser.add_argument("--host", help="of the endpoint, or of the remote where git fails; with its port, if any")
        parser.add_argument("--all", action="store_true", help="all there are")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done, with a digest")
        parser.add_argument("--digest", metavar="D", help="what --dry-run showed, or less of it; never more")
        add_confirmation(parser)
        parser.add_argument("--wait", action="store_true", help="until all has ended; Ctrl-C leaves it running")
        base.add_positive(parser, "--timeout", metavar="SECONDS", help="how long --wait waits (default: for ever)")
        base.add_positive(
            parser, "--max-running", metavar="N", help=f"how many run at once (at most {bulk.MOST_RUNNING})"
        )
        base.add_positive(parser, "--abort-percent", metavar="P", help="pause where over P %% of the first 50 fail")
        parser.add_argument("--idempotency-key", metavar="KEY", help="the same key again starts no second operation")
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        if options["timeout"] and not options["wait"]:
            raise Refused("usage", "--timeout is for --wait; give both.")
        for name, most in MOST.items():
            if (options[name] or 0) > most:
                raise Refused("usage", f"--{name.replace('_', '-')} is {most} at most.")
        self.progress = ProgressLine(sys.stderr, quiet=options["json"])
        self.asker = asker(verb(self.kind).replace("-", ""), options)
        scope = self._scope(options)
        if options["dry_run"]:
            shown = preview(scope)
            return base.Answer(document=shown.json(), lines=[*preview_lines(shown), f"  digest: {shown.digest}"])
        if len(options["subscriptions"]) == 1 and not options["digest"]:
            return self._one(scope, options)
        return self._many(scope, options)

    def _scope(self, options: Mapping[str, Any]) -> Scope:
        """The scope that the selectors give together, or that of the preview's digest."""
        names = options["subscriptions"]
        given = {s.condition: s.read(options[s.option]) for s in SELECTORS if options[s.option] is not None}
        selected = names or options["all"] or given
        if not selected and not options["digest"]:
            raise Refused("usage", WHICH)
        scope = Scope(kind=self.kind, ids=[find_subscription(name).id for name in names] if names else None, **given)
        if not options["digest"]:
            return scope
        previewed = read_digest(options["digest"]).scope
        if previewed.kind != self.kind or (selected and previewed != scope):
            about = f"{verb(previewed.kind)} of {previewed.words()}"
            raise Refused("usage", f"The digest is of another request: {about}. Give it alone.")
        return previewed

    def _one(self, scope: Scope, options: Mapping[str, Any]) -> base.Answer:
        if options["idempotency_key"]:
            raise Refused("usage", "--idempotency-key is for operations; asking twice for one is a conflict anyway.")
        if any(options[name] for name in MOST):
            raise Refused("usage", "--max-running and --abort-percent are for operations; this is about one alone.")
        subscription = scope.subscriptions().first()
        if subscription is None:
            raise Refused("not_found", f"{options['subscriptions'][0]} is not among what the other selectors say.")
        since = database_time()
        queued = self.single(subscription.id, self.asker)
        self.note_if_nobody_works()
        document: dict[str, Any] = {
            "queued": True,
            "app_id": subscription.app_id,
            "repository_id": subscription.repository_id,
            "note": queued.note or None,
        }
        lines = [f"{verb(self.kind).capitalize()} queued for {queued.subscription}"]
        if queued.note:
            lines.append(queued.note)
        if options["wait"]:
            row = self._wait_for_run(queued, since=since, timeout=options["timeout"])
            document["run"] = row
            lines = [run_line(row)]
        return base.Answer(document=document, lines=lines)

    def _many(self, scope: Scope, options: Mapping[str, Any]) -> base.Answer:
        operation = bulk.started_before(options["idempotency_key"]) or self._start(scope, options)
        if operation.scope != scope.data:
            raise Refused("conflict", "This key has started another operation already; take a new one.")
        self.note_if_nobody_works()
        document: dict[str, Any] = {"operation_id": operation.id, "total_count": operation.total}
        if not options["wait"]:
            return base.Answer(document=document, lines=self._started(operation))
        operation = follow(operation, self.asker, self.progress, timeout=options["timeout"], note=self.note)
        self.exit_code = exit_code(operation)
        document = {**full_document(operation), **document}
        return base.Answer(document=document, lines=[summary(progress_of(operation))])

    def _start(self, scope: Scope, options: Mapping[str, Any]) -> Operation:
        shown: Preview | Shown = read_digest(options["digest"]) if options["digest"] else preview(scope)
        if not shown.total:
            raise Refused("conflict", f"There is nothing to do: of {scope.words()} none is left.")
        question = "\n".join(preview_lines(shown)) if isinstance(shown, Preview) else scope.words()
        make_sure(shown, options, question=question, say=self.note)
        digest = options["digest"] or (shown.digest if isinstance(shown, Preview) else "")
        key = options["idempotency_key"]
        how = {name: options[name] for name in MOST}
        return bulk.start(scope, self.asker, digest=digest, confirmed=True, idempotency_key=key, **how)

    def _started(self, operation: Operation) -> Iterator[str]:
        yield f"{verb(self.kind).capitalize()} queued for {counted(operation.total, 'subscription')}: {operation.id}"
        yield f"`manage.py operation {operation.id} --watch` shows how far it is."

    def _wait_for_run(self, queued: Queued, *, since: Any, timeout: int | None) -> dict[str, Any]:
        """The row of its run as `sync` shows it; exit code 1 where that did not succeed, or did not end in time."""
        waiting = Waiting([queued.subscription], since=since)
        deadline, pauses = None if timeout is None else time.monotonic() + timeout, Pauses()
        run: SyncRun | None = None
        try:
            while waiting.ids and (deadline is None or time.monotonic() < deadline):
                run = next(iter(waiting.ended()), None)
                if run is None and not waiting.given_up():
                    self.progress.show("running" if waiting.counts()[0] else "waiting for a worker")
                    pauses.sleep()
        except KeyboardInterrupt:
            pass
        self.progress.clear()
        if run is None or run.outcome != SyncRun.Outcome.SYNCED:
            self.exit_code = 1
        if run is None:
            self.note("The run goes on without this command; `manage.py status` shows it.")
            queued.subscription.refresh_from_db()
        return run_row(run.subscription if run else queued.subscription, run)


def exit_code(operation: Operation) -> int:
    """1 where something failed or was cancelled, or has not ended."""
    return int(not operation.ended or operation.failed > 0 or operation.cancelled > 0)
