"""An app's page in a real browser: re-synced as a whole to the end with its bar, paused and resumed in place."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from syncsvc.models import App, Subscription
from tests import factories
from tests.browser.looking import look
from tests.gitrepo import GitRepo
from tests.management.working import workers
from tests.outages import open_circuit
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(row: object) -> str:
    return f"/admin/syncsvc/{row._meta.model_name}/{row.pk}/change/"  # type: ignore[attr-defined]


@pytest.fixture
def acme() -> App:
    """It follows repositories in each state there is."""
    app = factories.AppFactory(name="acme", url="https://hooks.acme.example.com/syncsvc")
    for number, values in enumerate(({"failed": True}, {"retry_count": 2}, {"synced": True}, {"is_active": False})):
        old = factories.SnapshotFactory(repository__name=f"owner/repository-{'abcd'[number]}", files=120)
        new = factories.SnapshotFactory(repository=old.repository, files=126, created=6, updated=2, deleted=0)
        old.repository.head_commit = new.commit
        old.repository.save()
        snapshot = new if "synced" in values else old
        row = factories.SubscriptionFactory(
            app=app, repository=old.repository, snapshot=snapshot, clean_epoch=1, **values
        )
        run = factories.SyncRunFactory(subscription=row, delivered=118 + number, failed=number, bytes=300_000)
        for milliseconds in (12, 18, 25, 40, 900):
            factories.DeliveryAttemptFactory(run=run, milliseconds=milliseconds)
    return app


def test_the_page_of_an_app_says_what_is_wrong_and_is_paused_in_place(
    console: Page, acme: App, axe: Callable[[Page], None]
) -> None:
    console.goto(page_of(acme))
    expect(console.locator("#health")).to_contain_text("1 of 4 repositories did not get through")
    expect(console.locator("#rows tbody tr")).to_have_count(4)
    look(console, "app")
    axe(console)

    console.get_by_role("button", name="Pause").click()
    dialog = console.get_by_role("dialog", name="Pause acme?")
    expect(dialog).to_contain_text("acme is sent nothing more until it is resumed: 3 repositories.")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Pause").click()

    expect(console.get_by_role("status")).to_have_text("Paused acme")
    expect(console.locator("#health")).to_contain_text("Nothing is sent, nothing is lost.")
    expect(console.locator("#buttons").get_by_role("button", name="Resume")).to_be_visible()
    expect(console.locator("#rows")).to_contain_text("when resumed")

    console.emulate_media(color_scheme="dark")
    App.objects.update(is_active=True)
    open_circuit(acme.pk)
    console.goto(page_of(acme))
    expect(console.locator("#health")).to_contain_text("The endpoint failed 5 times in a row.")
    look(console, "app-dark")
    console.set_viewport_size({"width": 390, "height": 800})
    look(console, "app-phone")
    assert console.evaluate("document.documentElement.scrollWidth") <= 390


def test_an_app_is_re_synced_as_a_whole_and_seen_through_to_the_end(console: Page, tmp_path: Path) -> None:
    remote = GitRepo(tmp_path / "remote")
    remote.commit({"a.md": b"a\n", "b.md": b"b\n"})
    with Receiver() as receiver:
        app = factories.AppFactory(name="acme", url=receiver.url)
        for name in ("owner/one", "owner/two"):
            repository = factories.RepositoryFactory(name=name, url=str(remote.path))
            factories.SubscriptionFactory(app=app, repository=repository, synced=True)

        console.goto(page_of(app))
        console.get_by_role("button", name="Re-sync all").click()
        dialog = console.get_by_role("dialog", name="Re-sync all repositories for acme?")
        expect(dialog).to_contain_text("This will re-send all files for 2 repositories")
        with workers():
            dialog.get_by_role("button", name="Re-sync").click()
            expect(console.get_by_role("status")).to_have_text("Re-sync queued for 2 repositories")
            expect(console.locator("#buttons")).to_contain_text("Bulk re-sync complete: 2 succeeded, 0 failed")
        expect(console.locator("#rows .badge.good")).to_have_text(["Synced", "Synced"])
        expect(console.locator("#rows")).to_contain_text("up to date")
        expect(console.locator("#health")).to_contain_text("4files, 0 failed")

    assert set(Subscription.objects.values_list("epoch", flat=True)) == {2}
