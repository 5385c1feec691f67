"""An operator's morning: what failed, why, and what to press; in a real browser."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django import Settings

from syncsvc.models import App, Operation, Status, Subscription
from tests import factories
from tests.browser.looking import look
from tests.gitrepo import GitRepo
from tests.management.working import workers
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/admin/failures/"
REFUSED = "3 of 120 changes were not taken. The endpoint answered 422 Unprocessable Entity. First: docs/guide/setup.md"
DOWN = "120 of 120 changes were not taken. The endpoint did not answer within 15 s. First: README.md"
DENIED = "The remote refused the credential, or needs one; give one that may read this repository."


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def fail(app: App, name: str, remote: str = "", **values: Any) -> Subscription:
    url = remote or f"https://git.example.com/{name}.git"
    repository = factories.RepositoryFactory(name=name, url=url)
    minutes = values.pop("minutes", 10)
    since = timezone.now() - timedelta(minutes=minutes)
    row: Subscription = factories.SubscriptionFactory(
        app=app, repository=repository, failed=True, failing_since=since, **values
    )
    return row


def remote(folder: Path) -> str:
    repo = GitRepo(folder / "remote")
    repo.commit({"a.md": b"a\n"})
    return str(repo.path)


def a_bad_morning() -> None:
    shop, docs, wiki = (factories.AppFactory(name=name) for name in ("shop", "docs-portal", "wiki"))
    for n in range(7):
        fail(shop, f"platform/service-{n}", error_kind="endpoint_timeout", last_error=DOWN, minutes=30 + n)
    fail(docs, "handbook/people", error_kind="endpoint_rejected", last_error=REFUSED, minutes=400)
    fail(docs, "handbook/security", error_kind="git_auth", last_error=DENIED, minutes=3000)
    fail(wiki, "infra/terraform-modules", error_kind="git_auth", last_error=DENIED, minutes=2900)
    retrying = {"status": Status.PENDING, "retry_count": 3, "due_at": timezone.now() + timedelta(minutes=4)}
    fail(shop, "platform/search", error_kind="endpoint_timeout", last_error=DOWN, minutes=3, **retrying)
    factories.SubscriptionFactory.create_batch(3, app=wiki, synced=True)


def test_the_page_is_read_in_light_and_dark_and_on_a_phone(console: Page, axe: Callable[[Page], None]) -> None:
    console.goto(URL)
    expect(console.get_by_text("Nothing failed")).to_be_visible()
    look(console, "failures-none")
    a_bad_morning()
    cache.clear()
    console.goto(URL)
    expect(console.get_by_text("10 failed, 1 retrying")).to_be_visible()

    axe(console)
    look(console, "failures")
    console.emulate_media(color_scheme="dark", reduced_motion="reduce")
    look(console, "failures-dark")
    console.set_viewport_size({"width": 390, "height": 844})
    look(console, "failures-phone")
    assert console.evaluate("document.documentElement.scrollWidth <= innerWidth")
    console.get_by_label("Cause", exact=True).select_option("git_auth@git.example.com")
    console.get_by_role("button", name="Filter").click()
    expect(console.locator("ul.failing > li")).to_have_count(2)


def test_one_is_found_and_retried_and_its_row_stays(console: Page, receiver: Receiver, tmp_path: Path) -> None:
    shop = factories.AppFactory(name="shop", url=receiver.url)
    row = fail(shop, "owner/docs", remote(tmp_path), last_error=REFUSED)
    fail(shop, "owner/other")
    console.goto(URL)
    console.get_by_label("Part of app/repository").fill("owner/docs")
    console.keyboard.press("Enter")
    listed = console.locator("ul.failing > li", has_text="shop/owner/docs")
    expect(console.locator("ul.failing > li")).to_have_count(1)

    listed.get_by_role("button", name="Retry").click()

    expect(console.get_by_role("status").filter(has_text="Retry queued for owner/docs")).to_be_visible()
    expect(listed.locator(".badge")).to_have_text("Pending")
    expect(listed.get_by_role("button", name="Retry")).to_have_count(0)
    with workers():
        expect(listed.locator(".badge")).to_have_text("Synced")
    expect(console.get_by_text("1 failed of 2 subscriptions")).to_be_visible()
    assert Subscription.objects.get(pk=row.pk).status == Status.SYNCED
    console.reload()
    expect(console.get_by_text("Nothing that fits")).to_be_visible()


def test_a_cause_is_retried_with_progress_and_cancelled_and_the_numbers_add_up(
    console: Page, receiver: Receiver, tmp_path: Path, settings: Settings
) -> None:
    settings.BULK_MAX_RUNNING = 1
    receiver.answer = lambda headers, body: (204, {}, b"", 0.4)
    shop = factories.AppFactory(name="shop", url=receiver.url)
    url = remote(tmp_path)
    for n in range(8):
        fail(shop, f"owner/r{n}", url, last_error=DOWN)
    fail(factories.AppFactory(name="other"), "owner/else")
    console.goto(URL)
    cause = console.locator(".cause", has_text="127.0.0.1")

    cause.get_by_role("button", name="Retry this cause").click()
    dialog = console.locator("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Retry 8 failed notifications?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    look(console, "failures-dialog")
    dialog.get_by_role("button", name="Retry").click()
    expect(cause.locator(".operation-bar")).to_contain_text("0/8 completed")
    expect(cause.get_by_role("button")).to_have_count(0)
    console.reload()
    expect(cause.locator(".operation-bar")).to_contain_text("0/8 completed")
    with workers(pause=0.2):
        expect(cause.locator(".operation-bar")).to_contain_text("succeeded")
        cause.get_by_role("link", name="Bulk retry").click()
        console.get_by_role("button", name="Cancel remaining").click()
        console.locator("dialog").get_by_role("button", name="Cancel remaining").click()
        expect(console.get_by_text("8/8 completed").first).to_be_visible()

    operation = Operation.objects.get()
    assert operation.succeeded + operation.cancelled == 8
    assert operation.cancelled
    left = Subscription.objects.filter(status=Status.FAILED).count()
    assert left == operation.cancelled + 1
    console.goto(URL)
    expect(console.get_by_text(f"{left} failed of 9 subscriptions")).to_be_visible()
    expect(cause).to_contain_text(f"Bulk retry cancelled: {operation.succeeded} succeeded, 0 failed")
    expect(cause.get_by_role("button", name="Retry this cause")).to_be_visible()


def test_all_of_it_goes_by_keyboard(console: Page) -> None:
    a_bad_morning()
    console.goto(URL)
    button = console.locator(".cause").first.get_by_role("button", name="Retry this cause")
    for _ in range(40):
        console.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    console.keyboard.press("Enter")
    expect(console.locator("dialog")).to_be_visible()
    console.keyboard.press("Escape")
    expect(console.locator("dialog")).to_be_hidden()
    expect(button).to_be_focused()
    console.keyboard.press("Enter")
    expect(console.locator("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    console.keyboard.press("Tab")
    console.keyboard.press("Enter")

    expect(console.locator(".cause").first.locator(".operation-bar")).to_contain_text("0/7 completed")
