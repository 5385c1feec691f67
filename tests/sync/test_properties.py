"""Runs against a client that drops repeats by id: whatever goes wrong on the way, it ends with git's files."""

import base64
import hashlib
import itertools
import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from pytest_django import Settings

from syncsvc.models import App, DeliveredFile, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.store import circuits, throttles
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.pipeline import run_subscription
from syncsvc.sync.scheduler import end_expired_leases
from syncsvc.sync.window import WINDOWS
from tests.gitrepo import Content, Executable, GitRepo, Submodule, Symlink
from tests.receiver import Misbehaviour, Receiver, Reply, reset
from tests.sync.world import World, contents

# Small enough for the longest contents below to travel in parts.
SMALL_PARTS, NO_PARTS = 16, 512 * 1024

PATHS = [b"a", b"a.b", b"a/b", b"a0", b"\xff", b"%FF", b"z/\xc3\xa9"]
CONTENTS: list[Content] = [
    *(b"", b"one", b"two", b"\x00\xff", b"long " * 10, b"\xfe" * 40),
    *(Executable(b"one"), Executable(b"long " * 10), Symlink(b"a"), Submodule("1" * 40)),
]
edits = st.dictionaries(st.sampled_from(PATHS), st.sampled_from([*CONTENTS, None]), min_size=1, max_size=5)

FAULTS = {
    "accept": (204, True),
    "reject": (422, False),
    "fail": (500, False),
    "fail after taking it": (500, True),
    "throttle": (429, False),
    "throttle for a while": (429, False),
    "be busy": (503, False),
    "be busy for a while": (503, False),
    "be busy after taking it": (503, True),
    "hang": (204, False),
    "take, and hang": (204, True),
    "lose": (0, True),
    "drop": (0, False),
    "take, and the lease is lost": (204, True),
    "the lease is lost": (0, False),
    "take, and a re-sync is asked for": (204, True),
    "take, and a commit is pushed": (204, True),
}
faults = st.lists(st.sampled_from(list(FAULTS)), min_size=1, max_size=8)
triggers = st.sampled_from((Trigger.SYNC, Trigger.RETRY, Trigger.POLL))
batches = st.sampled_from((1, 3))
parts = st.sampled_from((SMALL_PARTS, NO_PARTS))
# A request that hangs takes longer than it may.
TIMEOUT, HANGS = 0.25, 0.4


@dataclass
class CarefulClient:
    """Applies each id once; keeps the parts of one unfinished file a path."""

    files: dict[bytes, tuple[str, bytes]] = field(default_factory=dict)
    parts: dict[bytes, tuple[str, list[bytes]]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def take(self, id: str, kind: str, file: dict[str, Any]) -> None:
        if id in self.seen:
            return
        self.seen.add(id)
        path = path_of(file)
        if kind == "file.deleted":
            self.files.pop(path, None)
        elif "chunk" not in file:
            self.files[path] = (file["mode"], content_of(file))
        else:
            self._take_part(path, file)

    def _take_part(self, path: bytes, file: dict[str, Any]) -> None:
        chunk = file["chunk"]
        id, parts = self.parts.get(path, ("", []))
        if id != chunk["id"]:
            parts = []
        assert len(parts) == chunk["index"], "parts come in order"
        parts.append(content_of(file))
        self.parts[path] = (chunk["id"], parts)
        if len(parts) == chunk["total"]:
            whole = b"".join(parts)
            assert hashlib.sha256(whole).hexdigest() == file["sha256"]
            self.files[path] = (file["mode"], whole)
            del self.parts[path]


def path_of(file: dict[str, Any]) -> bytes:
    return base64.b64decode(file["path_base64"]) if "path_base64" in file else file["path"].encode()


def content_of(file: dict[str, Any]) -> bytes:
    return file["content"].encode() if file["encoding"] == "utf-8" else base64.b64decode(file["content"])


def files_in(webhook_id: str, event: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(id, type, file) of each file that a webhook brings."""
    if event["type"] == "files.batch":
        return [(item["id"], item["type"], item["file"]) for item in event["data"]["files"]]
    return [(webhook_id, event["type"], event["data"]["file"])]


class Endpoint:
    """The receiver's side: plays faults, applies what it takes, and writes down whatever must never happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = CarefulClient()
        self.faults: deque[str] = deque()
        self.problems: list[str] = []
        self.planned = ""
        self.tree: dict[bytes, tuple[str, str]] = {}
        self.offered: dict[str, tuple[object, ...]] = {}
        self._lock = threading.Lock()

    def answer(self, headers: dict[str, str], body: bytes) -> Reply | Misbehaviour:
        with self._lock:
            fault = self.faults.popleft() if self.faults else "accept"
            status, takes = FAULTS[fault]
            try:
                event = json.loads(body)
                if event["type"] != "ping":
                    self._receive(headers["webhook-id"], event, takes=takes)
                self._meanwhile(fault)
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")
            asked = {"Retry-After": "60"} if "a while" in fault else {}
            return (status, asked, b"", HANGS if "hang" in fault else 0.0) if status else reset

    def _receive(self, webhook_id: str, event: dict[str, Any], *, takes: bool) -> None:
        assert event["data"]["commit"] == self.planned, "what is sent is of the newest commit"
        for id, kind, file in files_in(webhook_id, event):
            self._check(id, kind, file)
            if takes:
                self.client.take(id, kind, file)

    def _check(self, id: str, kind: str, file: dict[str, Any]) -> None:
        path, mode, blob, previous = path_of(file), file["mode"], file["blob_sha"], file["previous_blob_sha"]
        said = (kind, path, mode, blob, previous)
        assert self.offered.setdefault(id, said) == said, "a repeat says the same"
        if kind == "file.deleted":
            assert path not in self.tree, "what is there is not deleted"
            assert previous is not None
        else:
            assert self.tree.get(path) == (mode, blob), "what is sent is what is there"
            assert (previous is None) == (kind == "file.created")

    def _meanwhile(self, fault: str) -> None:
        """What somebody else does while this request waits for its answer."""
        mine = Subscription.objects.filter(id=self.world.id)
        try:
            if "lease" in fault and mine.filter(status=Status.SYNCING).update(lease_expires_at=Now() - timedelta(1)):
                end_expired_leases()
            elif "re-sync" in fault:
                mine.update(epoch=F("epoch") + 1)
                ask_for_runs(mine, Trigger.RESYNC)
            elif "pushed" in fault:
                self.world.repo.commit({"pushed": hashlib.sha256(self.planned.encode()).digest()})
        finally:
            connection.close()


class Syncing(RuleBasedStateMachine):
    """Commits, faults and runs in any order; after each run the ledger must be sound, at the end all must be equal."""

    folder: Path
    environment: Settings
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.receiver = Receiver()
        self.receiver.__enter__()
        self.world = World(self.folder / str(next(self.numbers)), self.receiver)
        self.endpoint = Endpoint(self.world)
        self.receiver.answer = self.endpoint.answer
        self.failed = False

    @initialize(files=edits, in_flight=st.sampled_from((1, 4)), threshold=st.sampled_from((1, 3)))
    def start(self, files: dict[bytes, Content], in_flight: int, threshold: int) -> None:
        self.environment.CIRCUIT_THRESHOLD = threshold
        App.objects.update(max_in_flight=in_flight)
        self.world.repo.commit(files)

    @rule(files=edits)
    def commit(self, files: dict[bytes, Content]) -> None:
        self.world.repo.commit(files)

    @rule(old=st.sampled_from(PATHS), new=st.sampled_from(PATHS))
    def rename(self, old: bytes, new: bytes) -> None:
        files = contents(self.world.repo)
        if old in files:
            self.world.repo.commit({old: None, new: files[old][1]})

    @rule(back=st.integers(1, 4))
    def revert(self, back: int) -> None:
        commits = self.world.repo.git("rev-list", self.world.repo.head).decode().split()
        self.world.repo.commit_tree(self.world.repo.rev(f"{commits[back % len(commits)]}^{{tree}}"))

    @rule()
    def wait_as_long_as_was_asked(self) -> None:
        self.world.end_wait()

    @rule()
    def empty(self) -> None:
        self.world.repo.commit({}, replace_all=True)

    @rule()
    def forget(self) -> None:
        Subscription.objects.filter(id=self.world.id).update(epoch=F("epoch") + 1)

    @rule(faults=faults, trigger=triggers, most=batches, part=parts)
    def run(self, faults: list[str], trigger: Trigger, most: int, part: int) -> None:
        App.objects.update(max_batch=most)
        self.environment.CONTENT_CHUNK_BYTES = part
        self.endpoint.faults.extend(faults)
        App.objects.update(timeout=TIMEOUT)
        self._run(trigger)
        App.objects.update(timeout=None)
        self.endpoint.faults.clear()

    @rule(files=edits, faults=faults, trigger=triggers, most=batches, part=parts)
    def go_there_and_back(
        self, files: dict[bytes, Content], faults: list[str], trigger: Trigger, most: int, part: int
    ) -> None:
        self.commit(files)
        self.run(faults, trigger, most, part)
        self.revert(1)

    @rule()
    def converge(self) -> None:
        circuits.endpoint_answered(self.world.app.id)
        self.world.end_wait()
        with self._noting_failure():
            run = self._run(Trigger.SYNC)
            assert run is not None
            assert run.outcome == "synced", run.error
            self._check_all_is_equal()
            self._check_nothing_stands_against_the_endpoint(run)
            before = len(self.receiver.requests)
            self._run(Trigger.SYNC)
            assert len(self.receiver.requests) == before, "nothing is sent to a client that has everything"

    def teardown(self) -> None:
        try:
            if not self.failed:
                self.converge()
        finally:
            self.receiver.close()
            App.objects.all().delete()
            Repository.objects.all().delete()

    def _run(self, trigger: Trigger) -> SyncRun | None:
        with self._noting_failure():
            endpoint = self.endpoint
            endpoint.planned = self.world.repo.head
            endpoint.tree = files_of(self.world.repo)
            ask_for_runs(Subscription.objects.filter(id=self.world.id), trigger)
            throttled = throttles.throttled(self.world.app.id)
            before = len(self.receiver.requests)
            run = run_subscription(self.world.id, worker="test")
            self._wait_for_stragglers()
            if throttled and throttled.remaining > 1 and trigger is not Trigger.RETRY:
                assert (run, len(self.receiver.requests)) == (None, before), "the app wants to be left alone"
            assert endpoint.problems == []
            self._check_the_ledger_is_sound()
            if run is not None and run.outcome in {"postponed", "failed"}:
                assert run.error_kind.startswith("endpoint_"), run.traceback
                assert run.error
            return run

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.failed = True
            raise

    def _wait_for_stragglers(self) -> None:
        """Until the receiver has dealt with all that was sent, also over connections that the run has closed."""
        socket.create_connection(("127.0.0.1", self.receiver.port)).close()
        deadline = time.monotonic() + 30
        while self.receiver.busy:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def _check_the_ledger_is_sound(self) -> None:
        """What it is sure of is so, and nothing that the client has is missing from it."""
        ledger = self.world.ledger()
        assert self.endpoint.client.files.keys() <= ledger.keys()
        for path, row in ledger.items():
            if not row.in_doubt:
                mode, content = self.endpoint.client.files[path]
                assert (row.mode, row.blob) == (mode, blob_id(content))

    def _check_nothing_stands_against_the_endpoint(self, run: SyncRun) -> None:
        app = App.objects.get(id=self.world.app.id)
        assert app.circuit_opened_at is None
        if run.requests:
            assert (app.throttled_until, app.throttled_since, app.probe_until) == (None, None, None)
        assert WINDOWS.take(str(app.id), limit=1) is not None, "every place was given back"
        WINDOWS.give_back(str(app.id))

    def _check_all_is_equal(self) -> None:
        assert self.endpoint.client.files == contents(self.world.repo)
        rows = DeliveredFile.objects.filter(subscription_id=self.world.id)
        assert {bytes(row.path): (row.mode, row.blob) for row in rows} == files_of(self.world.repo)
        assert not any(row.in_doubt for row in rows)
        subscription = self.world.subscription
        assert {row.epoch for row in rows} <= {subscription.epoch}
        assert subscription.status == Status.SYNCED
        assert subscription.ledger_is_clean
        assert not SyncRun.objects.filter(subscription=subscription, outcome="").exists()


def files_of(repo: GitRepo) -> dict[bytes, tuple[str, str]]:
    """Path → mode and blob of the newest commit, submodules left out."""
    return {path: (entry.mode, entry.sha) for path, entry in repo.ls_tree().items() if entry.mode != "160000"}


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def test_a_client_that_drops_repeats_ends_with_git_s_files_whatever_went_wrong(
    transactional_db: None, tmp_path: Path, settings: Settings
) -> None:
    machine = type("Syncing", (Syncing,), {"folder": tmp_path, "environment": settings})
    run_state_machine_as_test(machine, settings=STATEFUL)


STATEFUL = settings(
    max_examples=int(os.environ.get("SYNCING_EXAMPLES", "15")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

names = st.binary(min_size=1, max_size=4).filter(
    lambda name: not set(name) & set(b"\0/") and name.lower() not in {b".", b"..", b".git", b"git~1"}
)
tree_paths = st.lists(names | st.sampled_from([b"a", b"a.b", b"a0", b"a-"]), min_size=1, max_size=3).map(b"/".join)


@pytest.mark.django_db
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths=st.sets(tree_paths, min_size=1, max_size=40))
def test_git_postgresql_and_python_order_paths_alike(
    tmp_path_factory: pytest.TempPathFactory, paths: set[bytes]
) -> None:
    repo = GitRepo(tmp_path_factory.mktemp("order") / "repo.git")
    repo.commit(dict.fromkeys(paths, b"x"))

    listed = list(repo.ls_tree())

    with connection.cursor() as cursor:
        cursor.execute("SELECT path FROM unnest(%s::bytea[]) AS path ORDER BY path", [sorted(listed, key=hash)])
        assert [bytes(path) for (path,) in cursor.fetchall()] == listed
    assert sorted(listed) == listed
