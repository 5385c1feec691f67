"""How workers take messages, and what sending one costs while Redis is away."""

import base64
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from django.conf import settings
from kombu.exceptions import OperationalError

from config.celery import KINDS, QUEUES, app, worker_queues
from syncsvc.management.embedded import free_port
from syncsvc.stopping import STOPPING
from tests.management.noting import note, note_long_work
from tests.management.test_process import wait_for
from tests.valkey import OwnValkey

WORKER = (sys.executable, "-m", "tests.management.noting", "--quiet", "worker", "--disable-prefetch", "--concurrency=2")
OPTIONS = ("--queues=live.0,bulk.0", "--without-gossip", "--without-mingle", "--without-heartbeat")


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "notes"
    file.touch()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()  # the wake-ups of other tests
        yield file
        client.flushdb()


def test_live_queues_stand_before_bulk_ones_and_a_worker_can_be_given_some_shards() -> None:
    assert KINDS == ("live", "bulk")
    assert QUEUES == ["live.0", "bulk.0"]
    assert worker_queues([]) == QUEUES
    assert worker_queues(["0"]) == QUEUES
    assert worker_queues(["1"]) == []


def test_a_worker_holds_no_reserve_takes_live_first_and_finishes_what_it_began(notes: Path) -> None:
    sent = [("bulk", f"bulk-{n}") for n in range(4)] + [("live", f"live-{n}") for n in range(2)]
    for kind, name in sent:
        note.apply_async(args=[str(notes), name, 1.0 if name < "live-1" else 30], queue=f"{kind}.0")
    worker = subprocess.Popen([*WORKER, *OPTIONS], env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"})
    try:
        wait_for(lambda: notes.read_text().count("begin") == 2, 60)
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            assert client.llen("bulk.0") == 4
        wait_for(lambda: notes.read_text().count("begin") == 3, 60)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()
    lines = notes.read_text().splitlines()
    assert set(lines[:2]) == {"begin live-0", "begin live-1"}
    assert lines[2:4] == ["end live-0", "begin bulk-0"]
    assert set(lines[4:]) == {"stop live-1", "stop bulk-0"}, "the running ones saw the signal, and ended by themselves"
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.llen("bulk.0") == 3, "the others are left for another worker"


# What a worker that waits for messages meets at once.
END_THE_CONNECTION = ("a replica", "a replica without its primary", "a user who may not write", "another password")


class Worker:
    """A worker process of two threads, and the tasks that it noted."""

    def __init__(self, url: str, notes: Path) -> None:
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "REDIS_URL": url}
        self._notes, self._url = notes, url
        self._log = notes.with_suffix(".log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen([*WORKER, *OPTIONS], env=environment, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def does(self, name: str) -> None:
        """Gives it a task, and fails the test where it is not done."""
        with app.connection_for_write(self._url) as connection:
            note.apply_async(args=[str(self._notes), name, 0], queue="live.0", connection=connection)
        wait_for(lambda: f"end {name}\n" in self._notes.read_text(), 60)

    def waits(self, times: int) -> None:
        wait_for(lambda: self._log.read_text().count("redis.refuses_writes") >= times, 30)
        assert self.process.poll() is None


def test_a_worker_waits_for_a_redis_that_takes_no_writes_and_works_when_it_does(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    with OwnValkey(tmp_path) as valkey, Worker(valkey.url, notes) as worker:
        worker.does("before")
        for times, how in enumerate(END_THE_CONNECTION, 1):
            valkey.refuse(how)
            worker.waits(times)
            valkey.accept()
            worker.does(f"after {how}")
        valkey.fail_over()
        worker.does("after a fail-over")
        valkey.refuse("a replica")
        worker.waits(len(END_THE_CONNECTION) + 1)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0


def test_a_worker_that_starts_beside_a_redis_that_refuses_works_when_it_does_not(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    with OwnValkey(tmp_path) as valkey:
        valkey.refuse("no memory left")
        with Worker(valkey.url, notes) as worker:
            worker.waits(1)
            valkey.accept()
            worker.does("afterwards")


class Bomb:
    """A pickle of it makes the file `path` where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def hostile_messages(bomb: bytes) -> list[bytes]:
    """What whoever can write to Redis may put into a queue."""
    delivery = {"delivery_tag": "a", "delivery_info": {"exchange": "", "routing_key": "live.0"}}
    whole = {"body": "", "headers": {}, "properties": delivery, "content-type": "application/json"}
    call = {"task": "tests.note", "id": "1"}
    pickled = {**whole, "content-type": "application/x-python-serialize", "content-encoding": "binary"}
    messages: list[Any] = [
        *([], {}, None, 7, "text", {"body": 1}, {"properties": {}}, {"properties": delivery}, whole),
        {**pickled, "body": base64.b64encode(bomb).decode(), "properties": {**delivery, "body_encoding": "base64"}},
        {**whole, "headers": call, "body": "no json"},
        {**whole, "headers": call, "body": "[]"},
        {**whole, "headers": call, "body": '[{"a": 1}, [], 7]'},
        {**whole, "headers": {"task": 7, "id": []}, "body": "[[], {}, {}]"},
        {**whole, "headers": {**call, "task": "os.system"}, "body": '[["id"], {}, {}]'},
        {**whole, "headers": {**call, "eta": "never", "expires": {}, "timelimit": "x"}, "body": "[[], {}, {}]"},
        {**whole, "headers": {**call, "id": None, "retries": "x", "argsrepr": []}, "body": "[[1], {}, {}]"},
        {**whole, "headers": [], "properties": {**delivery, "delivery_info": 1}},
        {**whole, "properties": {**delivery, "priority": "x", "body_encoding": "base64"}, "body": "é"},
    ]
    return [b"", b"\xff\xfe", bomb, b"[" * 100_000, *(json.dumps(message).encode() for message in messages)]


def test_what_is_no_message_ends_no_worker_and_runs_nothing(tmp_path: Path) -> None:
    notes, touched = tmp_path / "notes", tmp_path / "touched"
    notes.touch()
    hostile = hostile_messages(pickle.dumps(Bomb(touched)))
    with OwnValkey(tmp_path) as valkey, Worker(valkey.url, notes) as worker:
        valkey.redis.lpush("live.0", *hostile)
        worker.does("afterwards")
        assert valkey.redis.llen("live.0") == 0
        assert worker.process.poll() is None
    assert not touched.exists()


def test_sending_while_redis_is_away_fails_within_seconds() -> None:
    started = time.monotonic()
    with (
        app.connection_for_write(f"redis://127.0.0.1:{free_port()}/0") as connection,
        pytest.raises(OperationalError),
    ):
        note.apply_async(args=["", "", 0], queue="live.0", connection=connection, retry=False)
    assert time.monotonic() - started < 4
    assert not STOPPING.is_set()


def test_work_that_takes_long_leaves_its_slot_to_the_next_message(notes: Path) -> None:
    for number in range(4):
        note_long_work.apply_async(args=[str(notes), f"live-{number}", 30], queue="live.0")
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings", "WORKER_THREADS": "2"}
    worker = subprocess.Popen([*WORKER, *OPTIONS], env=os.environ | environment)
    try:
        wait_for(lambda: notes.read_text().count("begin") == 4, 60)
        assert "end" not in notes.read_text()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()
