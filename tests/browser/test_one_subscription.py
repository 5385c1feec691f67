"""One subscription from near: its page, its runs and its attempts, a preview, a held delete, one file again."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from syncsvc.models import DeliveryAttempt, SyncRun
from syncsvc.sync.preview import make_preview
from tests import factories
from tests.browser.looking import look
from tests.receiver import Receiver
from tests.sync.answers import refuses
from tests.sync.world import World

pytestmark = pytest.mark.django_db(transaction=True)
ANSWER = b'{"error": "unprocessable", "detail": "front matter of docs/guide/setup.md has no title"}'


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Receiver() as receiver:
        yield World(tmp_path, receiver)


def page_of(row: object, pk: object) -> str:
    return f"/admin/syncsvc/{row}/{pk}/change/"


def a_week(world: World) -> SyncRun:
    """Real runs, and older ones that are made up; the last one was not taken whole."""
    names = (
        "README.md",
        "docs/guide/setup.md",
        "docs/guide/deploy.md",
        "docs/api/webhooks.md",
        "src/main.py",
        "src/util.py",
    )
    world.repo.commit({name: name.encode() * 40 for name in names})
    world.run()
    for n in range(5):
        at = timezone.now() - timedelta(days=1, hours=5 * n)
        factories.SyncRunFactory(
            subscription=world.subscription, started_at=at, finished_at=at + timedelta(seconds=3 + n), updated=4 + n,
            delivered=4 + n, requests=4 + n, outcome="synced" if n != 2 else "interrupted", worker="worker@sync-1",
        )  # fmt: skip
    refused = refuses("docs/guide/setup.md")
    world.receiver.answer = lambda headers, body: (
        (422, {}, ANSWER, 0.0) if refused(headers, body)[0] == 422 else (204, {}, b"", 0.0)
    )
    world.repo.commit({name: name.encode() * 50 for name in names[:4]} | {"src/util.py": None, "src/new.py": b"1"})
    return world.run()


def test_each_page_is_sound_in_light_and_dark_and_on_a_phone(
    console: Page, axe: Callable[[Page], None], world: World
) -> None:
    run = a_week(world)
    attempt = DeliveryAttempt.objects.exclude(error_kind="").latest("id")
    make_preview(world.id)
    pages = {
        "subscription": page_of("subscription", world.id),
        "run": page_of("syncrun", run.pk),
        "attempt": page_of("deliveryattempt", attempt.pk),
    }
    for name, address in pages.items():
        console.goto(address)
        axe(console)
        look(console, name)
        console.emulate_media(color_scheme="dark")
        look(console, f"{name}-dark")
        console.emulate_media(color_scheme="light")
        console.set_viewport_size({"width": 390, "height": 844})
        look(console, f"{name}-phone")
        assert console.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        console.set_viewport_size({"width": 1280, "height": 900})


def test_a_preview_is_waited_for_and_a_file_is_sent_again_before_ones_eyes(console: Page, world: World) -> None:
    world.repo.commit({"a.md": b"1", "b.md": b"1"})
    world.run()
    world.repo.commit({"a.md": b"2"})
    console.goto(page_of("subscription", world.id))
    preview = console.locator("#preview")

    preview.get_by_role("button", name="Preview").click()
    expect(preview.get_by_text("making the preview…")).to_be_visible()
    make_preview(world.id)  # as a worker does
    expect(preview).to_contain_text("1 change: 0 created, 1 updated, 0 deleted")
    expect(preview.get_by_role("listitem")).to_contain_text("updated a.md")

    row = console.locator("#files tr", has_text="b.md")
    row.get_by_role("button", name="Send again").click()
    expect(console.get_by_role("status").filter(has_text="Sending b.md again")).to_be_visible()
    expect(row).to_contain_text("To be sent again")
    world.run_when_due()
    expect(row).to_contain_text("Acknowledged")
    expect(console.locator("#runs tbody tr")).to_have_count(2)
    assert sorted(world.told()[-2:]) == [("file.created", "b.md"), ("file.updated", "a.md")]


def test_a_held_delete_is_let_out_after_a_question(console: Page, world: World) -> None:
    world.repo.commit({f"docs/{n:03}.md": b"1" for n in range(30)})
    world.run()
    world.repo.commit({}, replace_all=True)
    world.run()
    console.goto(page_of("subscription", world.id))
    expect(console.get_by_text("30 deletes are held")).to_be_visible()
    look(console, "subscription-held")

    console.get_by_role("button", name="Allow deletes").click()
    dialog = console.locator("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Allow 30 deletes for acme?")
    look(console, "subscription-held-dialog")
    dialog.get_by_role("button", name="Allow deletes").click()

    expect(console.locator("#now .badge").first).to_have_text("Pending")
    world.run_when_due()
    expect(console.locator("#now .badge").first).to_have_text("Synced")
    expect(console.get_by_role("button", name="Allow deletes")).to_have_count(0)
    assert world.ledger() == {}
