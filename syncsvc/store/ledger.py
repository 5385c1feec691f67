"""The ledger's statements: read in git's order, marked in doubt before a request, acknowledged after its answer.

Set-based: the ORM has no `unnest`, and a statement a file would be most of a run's time. A write checks the lease in
its own statement, so that a worker that has lost it writes nothing.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence

from syncsvc.models.attempt import ANSWER_BYTES, ERROR_LETTERS
from syncsvc.store.attempts import Attempt
from syncsvc.store.statements import execute, fetch_all, fetch_one
from syncsvc.types import Change, ChangeKind, LedgerRow

PAGE_ROWS = 5_000
_COLUMNS = "path, mode, blob, epoch, doubt_id::text, doubt_mode, doubt_blob, doubt_previous, doubt_epoch"

# A page of a subscription's rows in git's order, by the index ledger_once_a_path. Locks nothing. Called by `rows`.
_PAGE = f"""
SELECT {_COLUMNS} FROM syncsvc_deliveredfile
WHERE subscription_id = %(subscription)s AND path > %(after)s ORDER BY path LIMIT %(page)s
"""

# Marks changes in doubt, and takes the ledger's cleanness: from here on only a settled run knows what the app has.
# Locks the subscription, then its ledger rows. Called before a group of changes is sent.
_MARK = """
WITH held AS (
  UPDATE syncsvc_subscription SET clean_snapshot_id = NULL
  WHERE id = %(subscription)s AND lease_token = %(token)s AND status = 'syncing' RETURNING id
), marked AS (
  INSERT INTO syncsvc_deliveredfile AS row (subscription_id, path, epoch, doubt_id, doubt_mode,
    doubt_blob, doubt_previous, doubt_epoch)
  SELECT held.id, change.path, 0, change.id, change.mode, change.blob, change.previous, %(epoch)s
  FROM held, unnest(%(paths)s::bytea[], %(ids)s::uuid[], %(modes)s::text[], %(blobs)s::text[],
    %(previous)s::text[]) AS change (path, id, mode, blob, previous)
  ON CONFLICT (subscription_id, path) DO UPDATE SET doubt_id = excluded.doubt_id,
    doubt_mode = excluded.doubt_mode, doubt_blob = excluded.doubt_blob,
    doubt_previous = excluded.doubt_previous, doubt_epoch = excluded.doubt_epoch
) SELECT id FROM held
"""

# Writes acknowledgements and clears their marks.
# Locks the subscription FOR SHARE, so that nobody takes the lease away between this check and the write; then the
# ledger rows. Called for a group of acknowledgements, and with the log of requests for a run of a few files: requests
# are logged also where the lease is lost, but only while their run is there, which is locked after its subscription.
_ACKNOWLEDGE = """
WITH held AS (
  SELECT id FROM syncsvc_subscription
  WHERE id = %(subscription)s AND lease_token = %(token)s AND status = 'syncing' FOR SHARE
), kept AS (
  UPDATE syncsvc_deliveredfile AS row SET mode = change.mode, blob = change.blob, epoch = %(epoch)s,
    delivered_at = now(), doubt_id = NULL, doubt_mode = NULL, doubt_blob = NULL,
    doubt_previous = NULL, doubt_epoch = NULL
  FROM held, unnest(%(paths)s::bytea[], %(modes)s::text[], %(blobs)s::text[])
    AS change (path, mode, blob)
  WHERE row.subscription_id = held.id AND row.path = change.path
), gone AS (
  DELETE FROM syncsvc_deliveredfile AS row USING held
  WHERE row.subscription_id = held.id AND row.path = ANY(%(gone)s::bytea[])
)"""
_ACKNOWLEDGE_ONLY = f"{_ACKNOWLEDGE} SELECT id FROM held"
_ACKNOWLEDGE_AND_LOG = (
    _ACKNOWLEDGE
    + """, run AS (
  SELECT r.id FROM (SELECT count(*) FROM held) AS locked, syncsvc_syncrun r WHERE r.id = %(run)s FOR KEY SHARE OF r
), logged AS (
  INSERT INTO syncsvc_deliveryattempt (subscription_id, run_id, webhook_id, kind, path, files, status, error_kind,
    error, milliseconds, answer, header_names)
  SELECT %(subscription)s, run.id, a.* FROM run, unnest(%(webhook_ids)s::text[], %(kinds)s::text[],
    %(asked_paths)s::bytea[], %(files)s::smallint[], %(statuses)s::smallint[], %(error_kinds)s::text[],
    %(errors)s::text[], %(milliseconds)s::int[], %(answers)s::bytea[],
    %(header_names)s::text[]) AS a
) SELECT id FROM held"""
)

# Has one path sent again. An epoch of 0 is older than any; a doubt without its epoch is no repeat, so its id is not
# used again. Locks the ledger's row; the caller holds the subscription's. Called by *Send again*.
_FORGET = """
INSERT INTO syncsvc_deliveredfile AS row (subscription_id, path, epoch) VALUES (%(subscription)s, %(path)s, 0)
ON CONFLICT (subscription_id, path) DO UPDATE SET epoch = 0, doubt_epoch = NULL
"""


def rows(subscription_id: uuid.UUID, *, page: int = PAGE_ROWS) -> Iterator[LedgerRow]:
    """A subscription's rows in git's order, read in keyset pages of a short transaction each."""
    after = b""
    while True:
        found = fetch_all(_PAGE, {"subscription": subscription_id, "after": after, "page": page})
        yield from (LedgerRow(bytes(path), *rest) for path, *rest in found)
        if len(found) < page:
            return
        after = bytes(found[-1][0])


def mark_in_doubt(subscription_id: uuid.UUID, changes: Sequence[Change], *, lease_token: uuid.UUID, epoch: int) -> bool:
    """Notes changes that are about to be sent; False where the lease is lost. Takes the ledger's cleanness."""
    values = {
        "subscription": subscription_id,
        "token": lease_token,
        "epoch": epoch,
        "paths": _bytes_array(change.path for change in changes),
        "ids": _array(change.id for change in changes),
        "modes": _array(change.mode for change in changes),
        "blobs": _array(change.blob for change in changes),
        "previous": _array(change.previous_blob for change in changes),
    }
    return fetch_one(_MARK, values) is not None


def acknowledge(subscription_id: uuid.UUID, changes: Sequence[Change], *, lease_token: uuid.UUID, epoch: int) -> bool:
    """Notes changes that the app took; False where the lease is lost."""
    return fetch_one(_ACKNOWLEDGE_ONLY, _acknowledged(subscription_id, changes, lease_token, epoch)) is not None


def acknowledge_and_log(
    subscription_id: uuid.UUID,
    changes: Sequence[Change],
    attempts: Sequence[Attempt],
    *,
    run_id: uuid.UUID,
    lease_token: uuid.UUID,
    epoch: int,
) -> bool:
    """Notes changes that the app took and logs the requests, for a run of a few files.

    False where the lease is lost; the requests are logged all the same.
    """
    values = {
        **_acknowledged(subscription_id, changes, lease_token, epoch),
        "run": run_id,
        "webhook_ids": _array(a.webhook_id for a in attempts),
        "kinds": _array(a.kind for a in attempts),
        "asked_paths": _bytes_array(a.path for a in attempts),
        "files": _array(str(a.files) for a in attempts),
        "statuses": _array(str(a.status) if a.status else None for a in attempts),
        "error_kinds": _text_array(a.error_kind for a in attempts),
        "errors": _text_array(a.error[:ERROR_LETTERS] for a in attempts),
        "milliseconds": _array(str(a.milliseconds) for a in attempts),
        "answers": _bytes_array(a.answer[:ANSWER_BYTES] for a in attempts),
        "header_names": _text_array(a.header_names for a in attempts),
    }
    return fetch_one(_ACKNOWLEDGE_AND_LOG, values) is not None


def forget(subscription_id: uuid.UUID, path: bytes) -> None:
    """Has one path sent again: created as it is now, or deleted where it is gone, with an id of its own.

    The caller holds the subscription's row, and takes its ledger's cleanness. A path that is in doubt stays so.
    """
    execute(_FORGET, {"subscription": subscription_id, "path": path})


def _acknowledged(
    subscription_id: uuid.UUID, changes: Sequence[Change], lease_token: uuid.UUID, epoch: int
) -> dict[str, object]:
    kept = [change for change in changes if change.kind is not ChangeKind.DELETED]
    return {
        "subscription": subscription_id,
        "token": lease_token,
        "epoch": epoch,
        "paths": _bytes_array(change.path for change in kept),
        "modes": _array(change.mode for change in kept),
        "blobs": _array(change.blob for change in kept),
        "gone": _bytes_array(change.path for change in changes if change.kind is ChangeKind.DELETED),
    }


# Arrays as PostgreSQL writes them: psycopg quotes a list item by item in Python, which took a third of a run's time.


def _array(words: Iterable[str | None]) -> str:
    """Of modes, hashes, ids and numbers, none of which needs quotes."""
    return f"{{{','.join(word or 'NULL' for word in words)}}}"


def _text_array(texts: Iterable[str | None]) -> str:
    """Of any texts; PostgreSQL has no zero byte."""
    return "{" + ",".join(["NULL" if text is None else f'"{_escaped(text)}"' for text in texts]) + "}"


def _escaped(text: str) -> str:
    return text.replace("\0", "").replace("\\", "\\\\").replace('"', '\\"')


def _bytes_array(values: Iterable[bytes | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"
