"""What each app has acknowledged, and what it may have without our knowing."""

import uuid
from collections.abc import Iterable, Iterator, Sequence

from django.db import connection, models

from syncsvc.models.attempt import ANSWER_BYTES, ERROR_LETTERS, Attempt
from syncsvc.models.hot import fetch_one
from syncsvc.types import Change, ChangeKind, LedgerRow

PAGE_ROWS = 5_000
LEDGER_COLUMNS = "path, mode, blob, epoch, doubt_id::text, doubt_mode, doubt_blob, doubt_previous, doubt_epoch"


class DeliveredFileQuerySet(models.QuerySet["DeliveredFile"]):
    """Set-based and in SQL: the ORM has no unnest, and a statement a file would be most of a run's time."""

    def rows(self, subscription_id: uuid.UUID, *, page: int = PAGE_ROWS) -> Iterator[LedgerRow]:
        """A subscription's rows in git's order, read in keyset pages of a short transaction each."""
        after = b""
        while True:
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT {LEDGER_COLUMNS} FROM syncsvc_deliveredfile"  # noqa: S608 - a constant
                    " WHERE subscription_id = %s AND path > %s ORDER BY path LIMIT %s",
                    [subscription_id, after, page],
                )
                rows = cursor.fetchall()
            yield from (LedgerRow(bytes(path), *rest) for path, *rest in rows)
            if len(rows) < page:
                return
            after = bytes(rows[-1][0])

    def rows_of(self, subscription_id: uuid.UUID, paths: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {LEDGER_COLUMNS} FROM syncsvc_deliveredfile"  # noqa: S608 - a constant
                " WHERE subscription_id = %s AND path = ANY(%s)",
                [subscription_id, list(paths)],
            )
            return {bytes(path): LedgerRow(bytes(path), *rest) for path, *rest in cursor.fetchall()}

    def mark_in_doubt(
        self, subscription_id: uuid.UUID, changes: Sequence[Change], *, lease_token: uuid.UUID, epoch: int
    ) -> bool:
        """Notes what is about to be sent, in one statement; False where the lease is no longer ours.

        Takes the ledger's cleanness with it: from here on only a settled run knows what the app has.
        """
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
        return fetch_one(MARK, values) is not None

    def acknowledge(
        self, subscription_id: uuid.UUID, changes: Sequence[Change], *, lease_token: uuid.UUID, epoch: int
    ) -> bool:
        """Notes what the app took, in one statement; False where the lease is no longer ours."""
        return fetch_one(ACKNOWLEDGE, _acknowledged(subscription_id, changes, lease_token, epoch)) is not None

    def acknowledge_and_log(
        self,
        subscription_id: uuid.UUID,
        changes: Sequence[Change],
        attempts: Sequence[Attempt],
        *,
        run_id: uuid.UUID,
        lease_token: uuid.UUID,
        epoch: int,
    ) -> bool:
        """The same, and the requests that were made, for a run of a few files; False likewise, but they are logged."""
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
        }
        return fetch_one(ACKNOWLEDGE_AND_LOG, values) is not None

    def forget(self, subscription_id: uuid.UUID, path: bytes) -> None:
        """Has one path sent again: created as it is now, or deleted where it is gone, with an id of its own.

        The caller holds the subscription's row, and takes its ledger's cleanness. A path that is in doubt stays so.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                # An epoch of 0 is older than any; a doubt without its epoch is no repeat, so its id is not used again.
                """INSERT INTO syncsvc_deliveredfile AS row (subscription_id, path, epoch) VALUES (%s, %s, 0)
                   ON CONFLICT (subscription_id, path) DO UPDATE SET epoch = 0, doubt_epoch = NULL""",
                [subscription_id, path],
            )


# Takes the ledger's cleanness with it: from there on only a settled run knows what the app has.
MARK = """
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

# FOR SHARE, not KEY SHARE: nobody may take the lease away between this check and the write. The requests are logged
# whoever has the lease by now; but only where their run is still there, which is locked after its subscription, as a
# delete does.
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
ACKNOWLEDGE = _ACKNOWLEDGE + " SELECT id FROM held"  # noqa: S608 - constants
ACKNOWLEDGE_AND_LOG = (
    _ACKNOWLEDGE  # noqa: S608 - constants
    + """, run AS (
  SELECT r.id FROM (SELECT count(*) FROM held) AS locked, syncsvc_syncrun r WHERE r.id = %(run)s FOR KEY SHARE OF r
), logged AS (
  INSERT INTO syncsvc_deliveryattempt (subscription_id, run_id, webhook_id, kind, path, files, status, error_kind,
    error, milliseconds, answer)
  SELECT %(subscription)s, run.id, a.* FROM run, unnest(%(webhook_ids)s::text[], %(kinds)s::text[],
    %(asked_paths)s::bytea[], %(files)s::smallint[], %(statuses)s::smallint[], %(error_kinds)s::text[],
    %(errors)s::text[], %(milliseconds)s::int[], %(answers)s::bytea[]) AS a
) SELECT id FROM held"""
)


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


def _text_array(texts: Iterable[str]) -> str:
    """Of any texts; PostgreSQL has no zero byte."""
    escaped = (text.replace("\0", "").replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join([f'"{text}"' for text in escaped]) + "}"


def _bytes_array(values: Iterable[bytes | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values]) + "}"


class DeliveredFile(models.Model):
    """A path that an app has, or may have: the version it acknowledged, and the one whose answer is missing."""

    # No check a row: a row is only written while its subscription's row is locked, and a trigger of the database
    # deletes it with that row.
    subscription = models.ForeignKey(
        "syncsvc.Subscription",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="delivered_files",
    )
    # git's raw bytes, whose order is git's.
    path = models.BinaryField()
    mode = models.CharField(max_length=6, null=True)  # noqa: DJ001 - nothing acknowledged is not an empty mode
    blob = models.CharField(max_length=64, null=True)  # noqa: DJ001
    # The subscription's epoch when it was acknowledged; an older one means: forgotten, to be sent again.
    epoch = models.PositiveIntegerField(default=0, db_default=0)
    delivered_at = models.DateTimeField(null=True)
    # The change that was sent and not acknowledged: its id, what it said, and what it said the app had before.
    doubt_id = models.UUIDField(null=True)
    doubt_mode = models.CharField(max_length=6, null=True)  # noqa: DJ001
    doubt_blob = models.CharField(max_length=64, null=True)  # noqa: DJ001
    doubt_previous = models.CharField(max_length=64, null=True)  # noqa: DJ001
    doubt_epoch = models.PositiveIntegerField(null=True)

    objects = DeliveredFileQuerySet.as_manager()

    class Meta:
        ordering = ("subscription", "path")
        constraints = (
            # Serves the merge-join's pages and every upsert. No index has the doubt columns: their updates stay in
            # the page.
            models.UniqueConstraint(fields=["subscription", "path"], name="ledger_once_a_path"),
        )

    def __str__(self) -> str:
        return bytes(self.path).decode(errors="backslashreplace")

    @property
    def in_doubt(self) -> bool:
        return self.doubt_id is not None
