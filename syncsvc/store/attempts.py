"""The log of HTTP requests, written in groups."""

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection, transaction

from syncsvc.models.attempt import ANSWER_BYTES, ERROR_LETTERS
from syncsvc.store.statements import fetch_one


class Attempt(NamedTuple):
    """A request as the run that made it notes it. `status` is None where no answer came."""

    webhook_id: str
    kind: str
    path: bytes | None
    files: int
    status: int | None
    error_kind: str
    error: str
    milliseconds: int
    answer: bytes


# Locks the run: until the transaction ends nobody deletes it.
_RUN_IS_THERE = "SELECT id FROM syncsvc_syncrun WHERE id = %(run)s FOR KEY SHARE"


def log_attempts(subscription_id: uuid.UUID, run_id: uuid.UUID, attempts: Sequence[Attempt]) -> None:
    """Writes them in one COPY: a row costs a tenth of what it costs with INSERT. Nothing where the run is deleted.

    A delete of the run waits for the end of the transaction, and then takes these with it.
    """
    if not attempts:
        return
    columns = "webhook_id, kind, path, files, status, error_kind, error, milliseconds, answer"
    with transaction.atomic(savepoint=False):
        if fetch_one(_RUN_IS_THERE, {"run": run_id}) is None:
            return
        copying = f"COPY syncsvc_deliveryattempt (subscription_id, run_id, {columns}) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(copying) as copy:
            for a in attempts:
                error, answer = a.error[:ERROR_LETTERS], a.answer[:ANSWER_BYTES]
                copy.write_row((subscription_id, run_id, *a[:6], error, a.milliseconds, answer))
