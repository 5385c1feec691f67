"""The plain loop: a Celery task a subscription, which fetches, posts with requests and saves with the ORM.

Kind to it: a clone a repository that is there already, one statement a row, no progress, no log of requests.
"""

import fcntl
import os
import secrets
import subprocess
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import django
import requests
from celery import Celery

if __name__ != "__main__":
    django.setup()

from syncsvc.delivery.payload import Origin, Payload, timestamp_text
from syncsvc.delivery.signing import Signer, new_secret
from syncsvc.models import DeliveredFile, Snapshot, Status, Subscription
from syncsvc.types import Change, ChangeKind

app = Celery("plain", broker=os.environ["REDIS_URL"], set_as_current=False)
app.conf.update(task_ignore_result=True, task_default_queue="plain", worker_prefetch_multiplier=1)
SIGNER = Signer([new_secret()])


def clone_of(repository_id: uuid.UUID) -> Path:
    return Path(os.environ["DATA_DIR"], "plain", str(repository_id))


def clone(repository_id: uuid.UUID, url: str) -> None:
    command = ["git", "clone", "--quiet", "--bare", f"file://{url}", str(clone_of(repository_id))]
    subprocess.run(command, check=True, capture_output=True)


@app.task
def deliver(subscription_id: str) -> None:
    subscription = Subscription.objects.select_related("app", "repository", "clean_snapshot").get(id=subscription_id)
    repository, before = subscription.repository, subscription.clean_snapshot
    assert before is not None
    folder = clone_of(repository.id)
    commit = _fetch(folder)
    payload = Payload(
        Origin(str(repository.id), repository.url, "main"),
        commit,
        secrets.token_hex(16),
        app_id=str(subscription.app.id),
    )
    for path, mode, blob, previous in _difference(folder, before.commit, commit):
        content = _git(folder, "cat-file", "blob", blob)
        webhook_id, now = secrets.token_hex(16), time.time()
        change = Change(ChangeKind.UPDATED, path, mode, blob, len(content), previous, webhook_id)
        body = payload.single(change, content, timestamp_text(datetime.fromtimestamp(now, UTC)))
        lines = (line.decode().split(": ", 1) for line in SIGNER.headers(webhook_id, int(now), body))
        headers = {"Content-Type": "application/json", **dict(lines)}
        requests.post(subscription.app.url, data=body, headers=headers, timeout=15).raise_for_status()
        DeliveredFile.objects.filter(subscription=subscription, path=path).update(
            mode=mode, blob=blob, delivered_at=datetime.now(UTC)
        )
    snapshot, _ = Snapshot.objects.get_or_create(
        repository=repository, commit=commit, defaults={"tree": commit, "files": before.files, "bytes": before.bytes}
    )
    subscription.status, subscription.due_at = Status.SYNCED, None
    subscription.snapshot = subscription.clean_snapshot = snapshot
    subscription.save(update_fields=["status", "due_at", "snapshot", "clean_snapshot"])


def _fetch(folder: Path) -> str:
    """One at a time in each clone, in whatever process."""
    with (folder / "fetching").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _git(folder, "fetch", "--quiet", "origin", "+refs/heads/main:refs/heads/main")
        return _git(folder, "rev-parse", "refs/heads/main").decode().strip()


def _difference(folder: Path, old: str, new: str) -> list[tuple[bytes, str, str, str]]:
    words = _git(folder, "diff-tree", "-r", "-z", old, new).split(b"\0")[:-1]
    found = []
    for meta, path in zip(words[::2], words[1::2], strict=True):
        _, mode, previous, blob, _ = meta.decode().split(" ")
        found.append((path, mode, blob, previous))
    return found


def _git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", f"--git-dir={folder}", *words], check=True, capture_output=True).stdout
