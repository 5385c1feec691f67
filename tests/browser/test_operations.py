"""Operators retry what failed, see it through, pause and cancel it, alone or two at once, in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from syncsvc.models import Operation, Subscription
from syncsvc.operations import bulk
from tests import factories
from tests.browser.looking import look
from tests.gitrepo import GitRepo
from tests.management.working import workers
from tests.operations.fleet import ASKER, FAILED, RETRY, adds_up, fleet, work
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
        expect(dialog.locator("h2", has_text="Retry 2 failed notifications?")).to_be_visible()
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

    expect(console.locator("#progress")).to_contain_text("2/2 completed")
    expect(console.locator("#progress h2")).to_contain_text("Bulk retry complete: 2 succeeded, 0 failed")
    expect(console.locator("#progress")).to_contain_text("Finished")
    look(console, "operation")
    console.locator(".chips").get_by_role("link", name="Succeeded 2").click()
    expect(console.locator("#items tbody tr")).to_have_count(2)
    expect(console.locator("#items")).to_contain_text("shop/owner/one")
    console.goto("/admin/syncsvc/operation/")
    expect(console.locator("#result_list")).to_contain_text("2/2 completed")
    look(console, "operations")
    assert set(Subscription.objects.values_list("status", flat=True)) == {"synced"}


def test_an_operation_is_paused_resumed_and_cancelled(console: Page, axe: Callable[[Page], None]) -> None:
    app = factories.AppFactory(name="shop")
    factories.SubscriptionFactory.create_batch(3, app=app, failed=True)

    console.goto(f"/admin/syncsvc/app/{app.pk}/change/")
    console.get_by_role("button", name="Retry all failed").click()
    console.locator("dialog").get_by_role("button", name="Retry").click()
    bar = console.locator(".operation-bar")
    expect(bar).to_contain_text("0/3 completed")
    expect(console.get_by_role("button", name="Retry all failed")).to_have_count(0)
    console.goto("/admin/syncsvc/operation/")
    expect(console.locator(".going-on .operation-bar")).to_contain_text("0/3 completed")
    look(console, "operations-going-on")
    axe(console)
    console.locator(".going-on").get_by_role("link", name="Bulk retry").click()
    console.get_by_role("button", name="Pause").click()
    expect(console.locator("#progress")).to_contain_text("Paused by operator.")
    look(console, "operation-paused")
    console.get_by_role("button", name="Resume").click()
    expect(console.get_by_role("status")).to_contain_text("Resumed.")
    console.get_by_role("button", name="Cancel remaining").click()
    console.locator("dialog").get_by_role("button", name="Cancel remaining").click()

    expect(console.locator("#progress h2")).to_contain_text("Bulk retry cancelled: 0 succeeded, 0 failed, 3 cancelled")
    expect(console.locator("#progress")).to_contain_text("3/3 completed")
    expect(console.get_by_role("button", name="Pause")).to_have_count(0)
    expect(console.locator("#items .badge")).to_have_text(["Cancelled"] * 3)
    assert set(Subscription.objects.values_list("status", flat=True)) == {"failed"}


def test_two_operators_see_one_operation_which_is_cancelled_in_the_middle_and_adds_up(
    console: Page, browser: Browser, live_server: LiveServer, axe: Callable[[Page], None]
) -> None:
    subscriptions = fleet(3, 8)
    operation = bulk.start(RETRY, ASKER, confirmed=True)
    work(subscriptions[:6], FAILED)
    work(subscriptions[6:15])
    other = browser.new_context(base_url=live_server.url, storage_state=console.context.storage_state()).new_page()
    for page in (console, other):
        page.goto(f"/admin/syncsvc/operation/{operation.pk}/change/")
        expect(page.locator("#progress h2")).to_contain_text("15/24 completed")
    look(console, "operation-running")
    axe(console)
    console.emulate_media(color_scheme="dark", reduced_motion="reduce")
    look(console, "operation-running-dark")

    work(subscriptions[15:18])
    for page in (console, other):
        expect(page.locator("#progress h2")).to_contain_text("18/24 completed")
    other.get_by_role("button", name="Cancel remaining").click()
    other.get_by_role("dialog").get_by_role("button", name="Cancel remaining").click()

    for page in (console, other):
        summary = page.locator("#progress h2")
        expect(summary).to_contain_text("Bulk retry cancelled: 12 succeeded, 6 failed, 6 cancelled")
        expect(page.locator("#buttons").get_by_role("button", name="Retry what failed")).to_be_visible()
    expect(console.locator("#items")).to_contain_text("Cancelled 6")
    look(console, "operation-cancelled-dark")
    assert adds_up()
    other.context.close()


def test_an_operation_is_followed_without_redis(console: Page, settings: Settings) -> None:
    subscriptions = fleet(1, 4)
    operation = bulk.start(RETRY, ASKER, confirmed=True)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    console.goto(f"/admin/syncsvc/operation/{operation.pk}/change/")
    expect(console.locator("#progress h2")).to_contain_text("0/4 completed")

    work(subscriptions)

    expect(console.locator("#progress h2")).to_contain_text("Bulk retry complete: 4 succeeded, 0 failed")
    console.set_viewport_size({"width": 390, "height": 800})
    assert console.evaluate("document.documentElement.scrollWidth") <= 390
    look(console, "operation-phone")
