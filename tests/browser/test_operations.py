"""An operator retries what failed, from the list, and sees it through, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from syncsvc.models import Operation, Subscription
from tests import factories
from tests.browser.looking import look
from tests.gitrepo import GitRepo
from tests.management.working import workers
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_failed_is_retried_from_the_list(console: Page, tmp_path: Path) -> None:
    remote = GitRepo(tmp_path / "remote")
    remote.commit({"a.md": b"a\n"})
    with Receiver() as receiver:
        app = factories.AppFactory(name="shop", url=receiver.url)
        for name in ("owner/one", "owner/two"):
            repository = factories.RepositoryFactory(name=name, url=str(remote.path))
            factories.SubscriptionFactory(app=app, repository=repository, failed=True)
        factories.SubscriptionFactory(synced=True)

        console.goto("/admin/syncsvc/subscription/?status__exact=failed")
        console.locator("#action-toggle").check()
        console.get_by_label("Action:").select_option("Retry")
        console.get_by_role("button", name="Run", exact=True).click()
        dialog = console.locator("dialog")
        expect(dialog.locator("h2", has_text="Retry 2 failed subscriptions?")).to_be_visible()
        expect(console.locator("table", has_text="By error")).to_contain_text("endpoint_error")
        look(console, "operation-confirm")
        assert not Operation.objects.exists()

        with workers():
            dialog.get_by_role("button", name="Retry").click()
            expect(console.get_by_role("status")).to_have_text("Retry queued for 2 subscriptions")
            expect(console.locator("#started")).to_contain_text("Bulk retry complete: 2 succeeded, 0 failed")
            expect(console.locator("#result_list .badge.good")).to_have_text(["Synced", "Synced"])  # no row vanished
            look(console, "operation-bar")
        console.get_by_role("link", name="Bulk retry complete").click()

    expect(console.get_by_text("2/2 completed")).to_be_visible()
    expect(console.locator(".field-state")).to_contain_text("finished")
    expect(console.get_by_role("link", name="2 succeeded")).to_be_visible()
    look(console, "operation")
    console.get_by_role("link", name="2 succeeded").click()
    expect(console.locator("#result_list")).to_contain_text("shop/owner/one")
    look(console, "operation-items")
    console.goto("/admin/syncsvc/operation/")
    expect(console.locator("#result_list")).to_contain_text("2/2 completed")
    look(console, "operations")
    assert set(Subscription.objects.values_list("status", flat=True)) == {"synced"}


def test_an_operation_is_paused_resumed_and_cancelled(console: Page) -> None:
    app = factories.AppFactory(name="shop")
    factories.SubscriptionFactory.create_batch(3, app=app, failed=True)

    console.goto(f"/admin/syncsvc/app/{app.pk}/change/")
    console.get_by_role("button", name="Retry all failed").click()
    console.locator("dialog").get_by_role("button", name="Retry").click()
    bar = console.locator(".operation-bar")
    expect(bar).to_contain_text("0/3 completed")
    expect(console.get_by_role("button", name="Retry all failed")).to_have_count(0)
    bar.get_by_role("link", name="Bulk retry").click()
    console.get_by_role("button", name="Pause").click()
    expect(console.locator(".field-state")).to_contain_text("Paused by operator.")
    look(console, "operation-paused")
    console.get_by_role("button", name="Resume").click()
    expect(console.get_by_role("status")).to_have_text("Resumed.")
    console.get_by_role("button", name="Cancel remaining").click()
    console.locator("dialog").get_by_role("button", name="Cancel remaining").click()

    expect(console.locator(".field-state")).to_contain_text("cancelled")
    expect(console.get_by_text("3/3 completed")).to_be_visible()
    expect(console.get_by_role("button", name="Pause")).to_have_count(0)
    assert set(Subscription.objects.values_list("status", flat=True)) == {"failed"}
