"""One app that follows one repository, with a real receiver and a real remote."""

import base64
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from syncsvc.models import App, DeliveredFile, Repository, Subscription, SyncRun, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.receiver import Receiver


@dataclass
class Client:
    """What a client app holds, by applying what it acknowledged in the order of arrival."""

    files: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)

    def apply(self, body: bytes) -> None:
        event = json.loads(body)
        if event["type"] == "files.batch":
            for item in event["data"]["files"]:
                self._apply(item["type"], item["file"])
        elif event["type"].startswith("file."):
            self._apply(event["type"], event["data"]["file"])

    def _apply(self, kind: str, file: dict[str, Any]) -> None:
        path = base64.b64decode(file["path_base64"]) if "path_base64" in file else file["path"].encode()
        if kind == "file.deleted":
            self.files.pop(path, None)
            return
        raw = file["content"].encode() if file["encoding"] == "utf-8" else base64.b64decode(file["content"])
        if "chunk" in file and file["chunk"]["index"]:
            raw = self.files[path][1] + raw
        self.files[path] = (file["mode"], raw)


def contents(repo: GitRepo, commit: str = "HEAD") -> dict[bytes, tuple[str, bytes]]:
    """Path → mode and content of a commit, submodules left out."""
    return repo.files(commit)


class World:
    """Everything one run needs, real."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.repo = GitRepo(folder / "remote.git")
        self.receiver = receiver
        self.app: App = AppFactory(name="acme", url=receiver.url)
        self.repository: Repository = RepositoryFactory(name="owner/repo", url=str(self.repo.path))
        self.id: uuid.UUID = SubscriptionFactory(app=self.app, repository=self.repository).id

    @property
    def subscription(self) -> Subscription:
        return Subscription.objects.select_related("app", "repository").get(id=self.id)

    def run(self, trigger: Trigger = Trigger.SYNC, **options: Any) -> SyncRun:
        """Asks for a run and runs it here."""
        ask_for_runs(Subscription.objects.filter(id=self.id), trigger, asked_by="a test", **options)
        run = run_subscription(self.id, worker="test")
        assert run is not None
        return run

    def run_when_due(self) -> SyncRun | None:
        """Lets the time pass until the next try is due, and runs it here."""
        self.end_wait()
        Subscription.objects.filter(id=self.id, due_at__isnull=False).update(due_at=Now())
        return run_subscription(self.id, worker="test")

    @staticmethod
    def end_wait() -> None:
        """Lets the time pass that an endpoint asked for."""
        App.objects.filter(throttled_until__isnull=False).update(throttled_until=Now())

    @property
    def mirror_path(self) -> Path:
        return Path(settings.MIRROR_DIR) / str(self.repository.id)

    def mirrored(self, path: bytes) -> Path:
        """The file that has a path's content in the mirror: what is fetched in small amounts stays loose."""
        sha = self.repo.ls_tree()[path].sha
        return self.mirror_path / "objects" / sha[:2] / sha[2:]

    def damage(self, path: bytes) -> None:
        """Makes the mirror's copy of a path's content a wrong one."""
        file = self.mirrored(path)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.chmod(0o600)
        file.write_bytes(content)

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.receiver.requests[since:]]

    def told(self, since: int = 0) -> list[tuple[str, str]]:
        """(type, path) of what arrived, in order."""
        return [(event["type"], event["data"]["file"]["path"]) for event in self.events(since)]

    def ledger(self) -> dict[bytes, DeliveredFile]:
        return {bytes(row.path): row for row in DeliveredFile.objects.filter(subscription_id=self.id)}

    def client(self) -> Client:
        """A client that applied everything that arrived, whatever was answered."""
        client = Client()
        for request in self.receiver.requests:
            client.apply(request.body)
        return client
