"""One bulk retry or re-sync: how far it is, its items, and what can be done with it."""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.ids import uuid_of
from syncsvc.management import base
from syncsvc.management.asking import add_asker, add_confirmation, asker, make_sure
from syncsvc.management.bulk import exit_code
from syncsvc.management.following import follow
from syncsvc.management.operation_lines import item_line, operation_lines, preview_lines
from syncsvc.management.terminal import ProgressLine
from syncsvc.models import Operation
from syncsvc.operations import bulk, control
from syncsvc.operations.document import full_document, item_document
from syncsvc.operations.items import items_after
from syncsvc.operations.preview import preview
from syncsvc.operations.scope import Scope
from syncsvc.words import counted

CONTROLS = {"cancel": control.cancel, "pause": control.pause, "resume": control.resume}


class Command(base.Command):
    help = "Shows a bulk retry or re-sync, watches it, or cancels, pauses and resumes it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="as `manage.py operations` lists it")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--watch", action="store_true", help="until it has ended; Ctrl-C leaves it running")
        what.add_argument("--cancel", action="store_true", help="nothing more begins; what runs ends and counts")
        what.add_argument("--pause", action="store_true", help="nothing more begins until --resume")
        what.add_argument("--resume", action="store_true", help="go on")
        what.add_argument("--items", action="store_true", help="its subscriptions with what came of each, in pages")
        what.add_argument("--retry-failed", action="store_true", help="a new operation over what failed in it")
        parser.add_argument("--after", metavar="CURSOR", help="the page of --items that follows: its `next`")
        base.add_positive(parser, "--timeout", metavar="SECONDS", help="how long --watch watches (default: for ever)")
        parser.add_argument("--idempotency-key", metavar="KEY", help="for --retry-failed: starts no second one")
        add_confirmation(parser)
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        _check_usage(options)
        operation = _found(options["id"])
        if options["items"]:
            return _items(operation, options["after"])
        if options["retry_failed"]:
            return self._retry_failed(operation, options)
        for name, act in CONTROLS.items():
            if options[name]:
                operation = act(operation.id, asker("operation", options))
        if options["watch"]:
            progress = ProgressLine(sys.stderr, quiet=options["json"])
            who = asker("operation", options)
            operation = follow(operation, who, progress, timeout=options["timeout"], note=self.note)
            self.exit_code = exit_code(operation)
        document = full_document(operation)
        return base.Answer(document=document, lines=operation_lines(document))

    def _retry_failed(self, operation: Operation, options: Mapping[str, Any]) -> base.Answer:
        again = bulk.started_before(options["idempotency_key"])
        if again is None:
            shown = preview(Scope(kind=Operation.Kind.RETRY, failed_in=operation.id))
            if operation.ended and shown.total:  # what is refused anyway is not asked about
                make_sure(shown, options, question="\n".join(preview_lines(shown)), say=self.note)
            again = bulk.retry_failed_of(
                operation,
                asker("operation", options),
                confirmed=True,
                idempotency_key=options["idempotency_key"],
            )
        if again.retries_id != operation.id:
            raise Refused("conflict", "This key has started another operation already; take a new one.")
        self.note_if_nobody_works()
        lines = [f"Retry queued for {counted(again.total, 'subscription')}: {again.id}"]
        return base.Answer(document={"operation_id": again.id, "total_count": again.total}, lines=lines)


def _check_usage(options: Mapping[str, Any]) -> None:
    if options["after"] and not options["items"]:
        raise Refused("usage", "--after is for --items; give both.")
    if options["timeout"] and not options["watch"]:
        raise Refused("usage", "--timeout is for --watch; give both.")


def _found(text: str) -> Operation:
    if operation_id := uuid_of(text):
        return control.get_operation(operation_id)
    raise Refused("not_found", f"There is no operation {text!r}; `manage.py operations` lists them.")


def _items(operation: Operation, after: str | None) -> base.Answer:
    page = items_after(operation.id, after)
    items = [item_document(item) for item in page.items]
    lines = [item_line(item) for item in items] or ["No more items."]
    if page.next:
        lines.append(f"More: manage.py operation {operation.id} --items --after {page.next}")
    return base.Answer(document={"items": items, "next": page.next}, lines=lines)
