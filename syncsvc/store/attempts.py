"""The log of HTTP requests, written in groups."""

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection

from syncsvc.models.attempt import ANSWER_BYTES, ERROR_LETTERS


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


def log_attempts(subscription_id: uuid.UUID, run_id: uuid.UUID, attempts: Sequence[Attempt]) -> None:
    """Writes them in one COPY: a row costs a tenth of what it costs with INSERT."""
    if not attempts:
        return
    columns = "webhook_id, kind, path, files, status, error_kind, error, milliseconds, answer"
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY syncsvc_deliveryattempt (subscription_id, run_id, {columns}) FROM STDIN") as copy,
    ):
        for a in attempts:
            error, answer = a.error[:ERROR_LETTERS], a.answer[:ANSWER_BYTES]
            copy.write_row((subscription_id, run_id, *a[:6], error, a.milliseconds, answer))
