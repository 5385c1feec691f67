"""The audit of tokens: from which addresses each was used, when first and when last."""

import time
from datetime import timedelta

from syncsvc.models import ApiToken, AuditEntry
from syncsvc.operations.asker import Asker

ONE_ENTRY = timedelta(days=1)
# Each process notes a token's use from an address once in so many seconds: a script in a loop writes no row a request.
NOTED_SECONDS = 60
KEPT = 10_000
_noted: dict[tuple[object, str | None], float] = {}


def note_use(token: ApiToken, caller: Asker) -> None:
    """One entry a day for each address; it says the first and the last use, within NOTED_SECONDS."""
    key, now = (token.pk, caller.address), time.monotonic()
    if now - _noted.get(key, -NOTED_SECONDS) < NOTED_SECONDS:
        return
    if len(_noted) >= KEPT:
        _noted.clear()
    _noted[key] = now
    entry = caller.entry(token, "", action=AuditEntry.Action.TOKEN_USED)
    AuditEntry.objects.note_again(entry, within=ONE_ENTRY)
