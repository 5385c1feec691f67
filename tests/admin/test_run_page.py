"""The page of a run: everything about it, and links to all it belongs to."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from syncsvc.admin.run_page import ATTEMPTS
from syncsvc.models import SyncRun, Trigger
from syncsvc.store.runs import RunRecord, end_run
from tests.admin.labels import label
from tests.factories import DeliveryAttemptFactory, OperationItemFactory, SnapshotFactory, SyncRunFactory
from tests.sync.answers import refuses
from tests.sync.conftest import world
from tests.sync.world import World

__all__ = ["world"]
pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def page(run: SyncRun) -> str:
    return f"/admin/syncsvc/syncrun/{run.pk}/change/"


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode()))


def links(response: Any) -> set[str]:
    return set(re.findall(r'href="([^"]*)"', response.content.decode()))


def test_a_real_run_is_told_whole_and_leads_everywhere(console: Client, world: World) -> None:
    world.repo.commit({"a.md": b"1", "b.md": b"1"})
    first = world.run()
    commit = world.repo.commit({"a.md": b"2", "b.md": None, "c.md": b"3"})
    world.receiver.answer = refuses("c.md")
    run = world.run()
    item = OperationItemFactory(subscription=world.subscription, run_id=run.pk, status="failed")

    response = console.get(page(run))

    shown = text(response)
    assert f"Ended Postponed {label('endpoint_rejected')} endpoint_rejected" in shown
    assert "1 created, 1 updated, 1 deleted" in shown
    assert "2 of 3, 1 not taken" in shown
    assert "Sync: a test" in shown
    assert "no, not that one" in shown
    assert commit[:12] in shown
    to = world.repository.snapshots.get(commit=commit)
    attempt = run.attempts.filter(path=b"c.md").get()
    assert {
        f"/admin/syncsvc/subscription/{world.id}/change/",
        f"/admin/syncsvc/syncrun/{first.pk}/change/",
        f"/admin/syncsvc/snapshot/{to.pk}/change/",
        f"/admin/syncsvc/operation/{item.operation_id}/change/",
        f"/admin/syncsvc/operationitem/{item.pk}/change/",
        f"/admin/syncsvc/deliveryattempt/{attempt.pk}/change/",
    } <= links(response)
    failed = text(console.get(page(run), {"only": "failed"}))
    assert "c.md" in failed
    assert "a.md" not in failed
    assert f"/admin/syncsvc/syncrun/{run.pk}/change/" in links(console.get(page(first)))
    assert f"/admin/syncsvc/syncrun/{run.pk}/change/" in links(
        console.get(f"/admin/syncsvc/subscription/{world.id}/change/")
    )


def test_a_bug_shows_its_traceback_and_a_held_run_what_it_means(console: Client) -> None:
    bug = SyncRunFactory(outcome="failed", error_kind="internal", error="A bug.", traceback="Traceback: <KeyError>")
    held = SyncRunFactory(outcome="held", error_kind="mass_delete_held", error="Held.", deleted=30)

    assert "Traceback: &lt;KeyError&gt;" in console.get(page(bug)).content.decode()
    shown = text(console.get(page(held)))
    assert "Nothing was sent The run is held" in shown
    assert "30 deleted" in shown


def test_a_run_that_goes_on_is_followed_to_its_end(console: Client) -> None:
    run = SyncRunFactory(running=True, worker="worker@here", trigger=Trigger.RETRY)
    whole = console.get(page(run)).content.decode()
    assert "Runs now" in whole
    assert "?part=facts&amp;v=running" in whole
    goes_on = console.get(page(run), {"part": "facts", "v": "running"}, headers=HTMX)
    assert (goes_on.status_code, "HX-Trigger" in goes_on.headers) == (200, False)
    assert 'data-every="2"' in goes_on.content.decode()
    end_run(run.pk, outcome=SyncRun.Outcome.SYNCED, record=RunRecord())

    ended = console.get(page(run), {"part": "facts", "v": "running"}, headers=HTMX)

    assert ended.status_code == 286
    assert "moved" in ended.headers["HX-Trigger"]
    assert "data-every" not in ended.content.decode()


def test_attempts_come_in_pages(console: Client) -> None:
    run = SyncRunFactory(requests=ATTEMPTS + 3)
    for n in range(ATTEMPTS + 3):
        DeliveryAttemptFactory(run=run, path=b"p%03d" % n)

    first = console.get(page(run))
    older = re.search(r'href="(\?before=\d+)#attempts">Older', first.content.decode())
    assert older
    second = text(console.get(page(run) + older[1]))

    assert "p003" in text(first)
    assert "p002" not in text(first)
    assert "p002" in second
    assert "Newest" in second
    assert console.get(page(run), {"before": "nonsense"}).status_code == 200


def test_only_who_may_sees_it(staff: Callable[..., Client]) -> None:
    run = SyncRunFactory()
    assert staff("view_syncrun").get(page(run)).status_code == 200
    other = staff("view_app")
    assert other.get(page(run)).status_code == 403
    assert other.get(page(run), {"part": "facts"}, headers=HTMX).status_code == 403


def test_the_page_costs_the_same_however_much_was_sent(console: Client) -> None:
    def cost(attempts: int) -> tuple[int, int]:
        snapshot = SnapshotFactory()
        run = SyncRunFactory(subscription__repository=snapshot.repository, to_commit=snapshot.commit)
        for _ in range(attempts):
            DeliveryAttemptFactory(run=run)
        with CaptureQueriesContext(connection) as whole:
            console.get(page(run))
        with CaptureQueriesContext(connection) as part:
            console.get(page(run), {"part": "facts"}, headers=HTMX)
        return len(whole), len(part)

    cost(1)
    assert cost(25) == cost(1)
    assert cost(1) == (7, 2)
