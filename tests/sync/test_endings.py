"""Runs that end badly say why, lose nothing that was done, and are not taken for errors of syncsvc itself."""

import zlib
from pathlib import Path

from django.conf import settings as configured
from django.db import connection
from django.db.models import F

from syncsvc.models import App, Status, Subscription, Trigger
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.job import mirror_of
from syncsvc.sync.pipeline import run_subscription
from syncsvc.types import RemoteHead
from tests.receiver import OK, Reply
from tests.sync.world import World, contents


def test_an_app_whose_url_was_changed_meanwhile_is_not_paused_for_the_old_one(world: World) -> None:
    world.repo.commit({"a": b"1"})

    def gone(headers: dict[str, str], body: bytes) -> Reply:
        App.objects.update(url="https://new.example.com/hook")
        connection.close()
        return 410, {}, b"", 0.0

    world.receiver.answer = gone
    world.run()

    assert App.objects.get().is_active


def test_what_was_delivered_is_on_record_even_where_the_damaged_mirror_cannot_be_rebuilt(world: World) -> None:
    world.repo.commit({"start": b""})
    world.run()
    head = world.repo.commit({"a": b"good", "b": b"bad!"})
    mirror_of(world.repository).fetch(RemoteHead(world.repo.branch, head))
    damage(configured.MIRROR_DIR / str(world.repository.id), world.repo.ls_tree()[b"b"].sha)

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        world.repo.path.rename(world.repo.path.with_name("away"))
        return OK

    world.receiver.answer = answer
    run = world.run()

    assert (run.error_kind, run.requests, run.delivered, run.failed) == ("git_corrupt", 1, 1, 1)
    assert (world.ledger()[b"a"].in_doubt, world.ledger()[b"b"].in_doubt) == (False, True)

    world.repo.path.with_name("away").rename(world.repo.path)
    world.receiver.answer = lambda headers, body: OK
    assert world.run().error_kind == "git_corrupt", "which has the mirror rebuilt"
    assert world.run().outcome == "synced"
    assert world.client().files == contents(world.repo)


def damage(mirror: Path, blob: str) -> None:
    """Other content of the same length, which only the hash gives away."""
    file = mirror / "objects" / blob[:2] / blob[2:]
    whole = zlib.decompress(file.read_bytes())
    file.chmod(0o600)
    file.write_bytes(zlib.compress(whole[:-1] + b"?"))


def test_a_re_sync_that_is_asked_for_during_a_run_is_not_forgotten_by_its_end(world: World) -> None:
    world.repo.commit({"a": b"1"})
    mine = Subscription.objects.filter(id=world.id)

    def forget(headers: dict[str, str], body: bytes) -> Reply:
        mine.update(epoch=F("epoch") + 1)
        ask_for_runs(mine, Trigger.RESYNC)
        connection.close()
        return OK

    world.receiver.answer = forget
    assert world.run().outcome == "synced"
    assert not world.subscription.ledger_is_clean
    world.receiver.answer = lambda headers, body: OK
    run = run_subscription(world.id, worker="test")

    assert run is not None
    assert (run.trigger, run.outcome, run.created) == ("resync", "synced", 1)
    assert world.told() == [("file.created", "a"), ("file.created", "a")]
    assert len({request.headers["webhook-id"] for request in world.receiver.requests}) == 2
    assert world.subscription.ledger_is_clean


def test_an_approval_of_deletes_outlives_a_run_that_never_saw_the_commit(world: World) -> None:
    commit = world.repo.commit({"a": b"1"})
    Subscription.objects.update(approved_commit=commit, approved_deletes=30)
    world.repo.path.rename(world.repo.path.with_name("away"))

    assert world.run().error_kind == "git_not_found"

    subscription = world.subscription
    assert (subscription.status, subscription.approved_commit) == (Status.FAILED, commit)
    assert subscription.approved_deletes == 30
