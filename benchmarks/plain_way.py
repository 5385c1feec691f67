"""The plain way: GitPython reads a file, requests posts it, the ORM writes a row; then the next file.

The same webhook and the same ledger row as syncsvc's, and what is kindest to it: a clone that is there already, no
look-up before the write, no log of requests.
"""

import secrets
import sys
import time
from datetime import UTC, datetime

import django
import git
import requests

from benchmarks.contestant import serve


def main(repository: str, url: str, most: int) -> None:
    django.setup()
    from django.db import connection

    from syncsvc.delivery.payload import Origin, Payload, timestamp_text
    from syncsvc.delivery.signing import Signer, new_secret
    from syncsvc.models import DeliveredFile, Subscription
    from syncsvc.types import Change, ChangeKind

    commit = git.Repo(repository).head.commit
    subscription = Subscription.objects.earliest("created_at")
    payload = Payload(Origin("0", repository, "main"), commit.hexsha, "0", app_id="0")
    signer = Signer([new_secret()])

    def work(_: list[str]) -> dict[str, float]:
        prefix, files = secrets.token_bytes(8), 0
        for item in commit.tree.traverse():
            if not isinstance(item, git.Blob):
                continue
            content = item.data_stream.read()
            path = str(item.path).encode()
            webhook_id, now = secrets.token_hex(16), time.time()
            change = Change(ChangeKind.CREATED, path, f"{item.mode:o}", item.hexsha, len(content), None, webhook_id)
            body = payload.single(change, content, timestamp_text(datetime.fromtimestamp(now, UTC)))
            lines = (line.decode().split(": ", 1) for line in signer.headers(webhook_id, int(now), body))
            headers = {"Content-Type": "application/json", **dict(lines)}
            requests.post(url, data=body, headers=headers, timeout=15).raise_for_status()
            DeliveredFile.objects.create(
                subscription=subscription,
                path=prefix + path,  # a first sync each time
                mode=change.mode,
                blob=change.blob,
                epoch=1,
                delivered_at=datetime.now(UTC),
            )
            files += 1
            if files == most:
                break
        return {"files": files}

    connection.ensure_connection()
    serve(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
