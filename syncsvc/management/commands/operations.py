"""Bulk retries and re-syncs, the newest first."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from syncsvc.management import base
from syncsvc.management.operation_lines import operation_line
from syncsvc.models import Operation
from syncsvc.operations.document import OperationDocument, operation_document

LIMIT = 50
PAGE = 100


class Command(base.Command):
    help = "Lists bulk retries and re-syncs, the newest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--open", action="store_true", help="only those that have not ended")
        base.add_positive(parser, "--limit", metavar="N", default=LIMIT, help=f"at most so many (default: {LIMIT})")

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        operations = Operation.objects.open() if options["open"] else Operation.objects.all()
        found = operations.order_by("-created_at")[: options["limit"]]
        documents = (operation_document(operation) for operation in found.iterator(PAGE))
        return base.Answer(document={"operations": documents}, lines=_lines(documents))


def _lines(documents: Iterator[OperationDocument]) -> Iterator[str]:
    empty = True
    for document in documents:
        empty = False
        yield operation_line(document)
    if empty:
        yield "No operation: `manage.py retry` and `manage.py resync` start some."
