"""The page of a subscription: how it is, what it did, what the app has, and what would be sent."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from syncsvc.models import Status, Subscription
from syncsvc.sync.preview import PAGE, known_preview, make_preview
from tests.admin.labels import label
from tests.factories import (
    DeliveredFileFactory,
    DeliveryAttemptFactory,
    SnapshotFactory,
    SubscriptionFactory,
    SyncRunFactory,
    sha,
)
from tests.sync.conftest import world
from tests.sync.world import World

__all__ = ["world"]
pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def page(subscription: Subscription, press: str = "change") -> str:
    return f"/admin/syncsvc/subscription/{subscription.pk}/{press}/"


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode()))


def part(client: Client, subscription: Subscription, name: str, **query: str) -> Any:
    return client.get(page(subscription), {"part": name, **query}, headers=HTMX)


def buttons(response: Any) -> list[str]:
    return re.findall(r'class="button [a-z]*"[^>]*>([^<]+)</button>', response.content.decode())


def full(runs: int) -> Subscription:
    """With so many runs, an attempt and a file each."""
    snapshot = SnapshotFactory(files=120, bytes=4_096_000)
    row: Subscription = SubscriptionFactory(repository=snapshot.repository, snapshot=snapshot, failed=True)
    for n in range(runs):
        run = SyncRunFactory(subscription=row, created=3, delivered=2, outcome="failed", asked_by="jane")
        DeliveryAttemptFactory(run=run, rejected=True, path=b"docs/%03d.md" % n)
        DeliveredFileFactory(subscription=row, path=b"docs/%03d.md" % n)
    return row


def test_the_page_tells_how_it_is_what_it_did_and_what_the_app_has(console: Client) -> None:
    row = full(2)
    DeliveredFileFactory(subscription=row, path=b"docs/doubt.md", in_doubt=True)
    DeliveredFileFactory(subscription=row, path=b"docs/forgotten.md", epoch=0)

    response = console.get(page(row))

    shown = text(response)
    assert f"Failed {label('endpoint_error')} endpoint_error" in shown
    assert "The endpoint failed with 500 Internal Server Error." in shown
    assert "120 files (4.1 MB)" in shown
    assert "3 created" in shown
    assert f"422 {label('endpoint_rejected')} endpoint_rejected" in shown
    assert "no such thing" in shown  # what the endpoint answered
    assert "docs/doubt.md In doubt" in shown
    assert "docs/forgotten.md To be sent again" in shown
    assert "docs/000.md Acknowledged" in shown
    assert shown.count("Send again") == 4
    assert buttons(response)[:3] == ["Retry", "Re-sync", "Pause"]


def test_files_are_found_by_the_beginning_of_a_path_and_paged_by_the_last_one(console: Client) -> None:
    row = full(0)
    for n in range(40):
        DeliveredFileFactory(subscription=row, path=b"a/%03d" % n)
    DeliveredFileFactory(subscription=row, path=b"b\xff/x")

    first = console.get(page(row)).content.decode()
    following = re.search(r'href="(\?path=&amp;after=[^"#]*)', first)
    assert following
    second = text(console.get(page(row) + following[1].replace("&amp;", "&")))

    assert "a/029" in first
    assert "a/030" not in first
    assert "a/030" in second
    assert "b\\xff/x" in second
    assert "a/029" not in second
    found = text(part(console, row, "files", path="b\\xff"))
    assert "b\\xff/x" in found
    assert "a/0" not in found
    assert "No such file" in text(part(console, row, "files", path="zzz", after="nonsense"))


def test_the_buttons_are_those_that_make_sense(console: Client) -> None:
    row = SubscriptionFactory(synced=True)
    assert buttons(part(console, row, "buttons")) == ["Re-sync", "Pause"]
    Subscription.objects.update(is_active=False)
    assert buttons(part(console, row, "buttons")) == ["Resume"]
    assert "is paused" in text(console.get(page(row)))


def test_it_is_paused_after_a_question_and_resumed(console: Client) -> None:
    row = SubscriptionFactory(synced=True)
    assert f"Pause {row}?" in text(console.get(page(row, "pause"), headers=HTMX))

    answer = console.post(page(row, "pause"), headers=HTMX)

    assert f"Paused {row}" in answer.headers["HX-Trigger"]
    assert "Paused" in text(answer)
    assert not Subscription.objects.get().is_active
    console.post(page(row, "resume"))
    assert Subscription.objects.get().is_active


def test_who_watches_is_told_when_something_begins_or_ends(console: Client) -> None:
    row = full(1)
    version = re.search(r"part=now&amp;v=([^&\"]*)", console.get(page(row)).content.decode())
    assert version
    quiet = part(console, row, "now", v=version[1])
    assert "HX-Trigger" not in quiet.headers
    assert 'data-every="15"' in quiet.content.decode()
    assert quiet.content.decode().count("v=") == 1
    Subscription.objects.update(status=Status.PENDING, due_at=Now(), asked_at=Now(), retry_count=0)

    moved = part(console, row, "now", v=version[1])

    assert "moved" in moved.headers["HX-Trigger"]
    assert 'data-every="2"' in moved.content.decode()


def test_a_held_delete_is_named_asked_for_and_let_out_once(console: Client, world: World) -> None:
    world.repo.commit({f"{n:03}": b"1" for n in range(30)})
    world.run()
    commit = world.repo.commit({}, replace_all=True)
    run = world.run()
    row = world.subscription
    assert "30 deletes are held" in text(console.get(page(row)))

    asked = console.get(page(row, "allow_deletes"), headers=HTMX)

    assert "Allow 30 deletes for acme?" in text(asked)
    assert commit[:12] in text(asked)
    assert f'name="run" value="{run.pk}"' in asked.content.decode()
    other = console.post(page(row, "allow_deletes"), {"run": str(row.pk)}, headers=HTMX)
    assert "It is not held at that commit any more" in other.headers["HX-Trigger"]
    allowed = console.post(page(row, "allow_deletes"), {"run": str(run.pk)}, headers=HTMX)
    assert "Deletes allowed" in allowed.headers["HX-Trigger"]
    done = world.run_when_due()
    assert done is not None
    assert (done.outcome, done.deleted) == ("synced", 30)
    gone = console.get(page(row, "allow_deletes"), headers=HTMX)
    assert "It is not held" in gone.headers["HX-Trigger"]


def test_a_preview_is_asked_for_waited_for_and_paged(console: Client, world: World) -> None:
    world.repo.commit({f"docs/{n:03}.md": b"12" for n in range(PAGE + 5)})
    row = world.subscription
    assert "Nothing is sent" in text(part(console, row, "preview"))

    console.post(page(row, "preview_changes"), headers=HTMX)

    waiting = part(console, row, "preview")
    assert "making the preview…" in text(waiting)
    assert 'data-every="2"' in waiting.content.decode()
    assert "Preview" not in buttons(waiting)
    known = known_preview(row.pk)
    assert known is not None
    long_ago = (timezone.now() - timedelta(seconds=20)).isoformat()
    cache.set(f"preview:{row.pk}", {**cache.get(f"preview:{row.pk}"), "asked_at": long_ago})
    late = part(console, row, "preview")
    assert "No worker has answered yet" in text(late)
    assert buttons(late) == ["Preview"]
    make_preview(row.pk)
    ready = part(console, row, "preview")
    assert f"{PAGE + 5} changes: {PAGE + 5} created, 0 updated, 0 deleted, 110 B" in text(ready)
    assert "docs/049.md" in text(ready)
    assert "data-every" not in ready.content.decode()
    second = part(console, row, "preview", preview="2")
    assert "docs/054.md" in text(second)
    assert "docs/049.md" not in text(second)
    assert world.receiver.requests == []


def test_without_redis_a_preview_says_so(console: Client, settings: Settings) -> None:
    row = SubscriptionFactory(synced=True)
    settings.CACHES = {
        **settings.CACHES,
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    cache.close()

    answer = console.post(page(row, "preview_changes"), headers=HTMX)

    assert "Failed to ask for a preview: Redis does not answer" in answer.headers["HX-Trigger"]


def test_a_file_is_sent_again_from_its_row(console: Client, world: World, settings: Settings) -> None:
    world.repo.commit({"a.md": b"1", "b.md": b"1"})
    world.run()
    Redis.from_url(settings.REDIS_URL).delete("live.0")
    file = world.ledger()[b"a.md"]

    answer = console.post(f"/admin/syncsvc/deliveredfile/{file.pk}/send_again/", headers=HTMX)

    assert "Sending a.md again" in answer.headers["HX-Trigger"]
    assert f"changed-{world.id}" in answer.headers["HX-Trigger"]
    assert "Pending" in text(answer)
    assert "a.md To be sent again" in text(part(console, world.subscription, "files"))
    world.run_when_due()
    assert world.told()[-1] == ("file.created", "a.md")


def test_every_action_needs_its_permission(staff: Callable[..., Client]) -> None:
    row = full(1)
    file = DeliveredFileFactory(subscription=row)
    viewer = staff("view_subscription", "view_deliveredfile")
    response = viewer.get(page(row))
    assert response.status_code == 200
    assert "Retry" not in buttons(response)
    for press in ("retry", "resync", "pause", "resume", "allow_deletes"):
        assert viewer.post(page(row, press)).status_code == 403
    assert viewer.post(f"/admin/syncsvc/deliveredfile/{file.pk}/send_again/").status_code == 403
    assert viewer.post("/admin/syncsvc/deliveredfile/nonsense/send_again/").status_code == 403
    assert staff("view_app").get(page(row), {"part": "now"}, headers=HTMX).status_code == 403


def test_the_page_and_its_parts_cost_the_same_however_much_happened(console: Client) -> None:
    little, much = full(1), full(25)
    SnapshotFactory(repository=much.repository, commit=sha("other"))

    def cost(row: Subscription, name: str = "") -> int:
        with CaptureQueriesContext(connection) as seen:
            assert (part(console, row, name) if name else console.get(page(row))).status_code == 200
        return len(seen)

    names = ("", "now", "runs", "attempts", "files", "preview")
    cost(little)
    costs = [cost(little, name) for name in names]
    assert [cost(much, name) for name in names] == costs
    assert costs[1] == 2  # what is asked for all the time: the user, and the row
    assert costs[5] == 2
    assert costs[0] <= 8
