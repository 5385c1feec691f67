"""Workers whose clocks are a minute off, before and behind: the database's clock is the only one that counts."""

import json
from datetime import UTC, datetime
from pathlib import Path

from tests.acceptance.client import Mood
from tests.acceptance.system import WORKERS, System, wait_for

FILES = 400
# Python runs it before anything else; it is part of that one process's environment, not of our code.
SITECUSTOMIZE = """
import datetime, time
real = time.time
time.time = lambda: real() + {seconds}
time.time_ns = lambda: int(time.time() * 10**9)
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)
datetime.datetime = Shifted
"""


def _off_by(folder: Path, seconds: int) -> dict[str, str]:
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(seconds=seconds), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_a_minutes_skew_between_workers_is_not_seen_outside(system: System, tmp_path: Path) -> None:
    system.stop(*WORKERS)
    system.start("worker-1", **_off_by(tmp_path / "ahead", 60))
    client, remote = system.client("clocks"), system.remote("clocks")
    remote.fill(FILES)
    system.add([client], [remote], "--poll", "3600")
    system.wait_until_synced(remote)

    client.mood = Mood(delay=0.05)
    remote.fill(FILES, "second")
    system.poll_now(remote)
    wait_for(lambda: len(client.sent) >= FILES + FILES // 4, "no run begins")
    system.kill("worker-1")
    system.start("worker-1", **_off_by(tmp_path / "behind", -60))
    system.wait_until_synced(remote)

    client.mood = Mood(fails=1)
    remote.fill(FILES, "third")
    system.poll_now(remote)
    wait_for(lambda: any(not sent.taken for sent in client.sent), "no run begins")
    waits = "SELECT abs(extract(epoch FROM due_at - now())) FROM syncsvc_subscription WHERE id = %s AND retry_count > 0"
    ((seconds,),) = wait_for(lambda: system.query(waits, system.subscription(remote)), "the run does not end")
    assert seconds < 5
    client.mood = Mood()
    system.wait_until_synced(remote)

    logged = datetime.fromisoformat(json.loads(system.log("worker-1").splitlines()[-1])["timestamp"])
    assert -90 < (logged - datetime.now(UTC)).total_seconds() < -50, "the clock was not off"
    assert all(-2 < sent.seconds_late < 5 for sent in client.sent)
    assert {worker.partition("@")[0] for _, worker, _ in system.runs(remote)} == {"worker-1"}
    system.stop("worker-1")
    ((first, last),) = system.query(
        """SELECT min(started_at) > now() - interval '5 minutes', max(finished_at) <= now() FROM syncsvc_syncrun u
           JOIN syncsvc_subscription s ON s.id = subscription_id WHERE repository_id = %s""",
        remote.id,
    )
    assert first
    assert last
