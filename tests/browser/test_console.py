"""An operator's first minutes in the console, in a real browser."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from syncsvc.models import App, Repository, Status, Subscription
from syncsvc.sync.poll import poll_repository
from tests import factories
from tests.browser.looking import look
from tests.gitrepo import GitRepo
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
LISTS = ("subscription", "app", "repository", "syncrun", "deliveryattempt", "deliveredfile", "snapshot")


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def choose(page: Page, field: str, text: str) -> None:
    """Types into a field that searches while one types, and takes what it finds."""
    page.locator(f".field-{field} .select2-selection").click()
    page.locator(".select2-search__field").fill(text)
    page.locator(".select2-results__option", has_text=text).click()


def test_an_app_shows_its_secret_once_and_is_tested(console: Page) -> None:
    with Receiver(lambda headers, body: (200, {}, b"<b>welcome</b>", 0.0)) as receiver:
        console.goto("/admin/syncsvc/app/add/")
        look(console, "app-add")
        console.get_by_label("Name").fill("shop")
        console.get_by_label("Webhook URL").fill(receiver.url)
        save(console)
        secret = App.objects.get(name="shop").secret.reveal()
        expect(console.locator(".secret")).to_have_text(secret)
        look(console, "app-secret")

        console.reload()
        expect(console.locator(".secret")).to_have_count(0)
        assert not SECRET.search(console.content())

        console.get_by_role("button", name="Send test").click()
        expect(console.locator(".messagelist")).to_contain_text("The endpoint answered 200 in")
        expect(console.locator(".messagelist pre")).to_have_text("<b>welcome</b>")
        look(console, "app-test")

        console.get_by_role("button", name="Rotate secret").click()
        console.locator("dialog").get_by_role("button", name="Rotate secret").click()
        expect(console.locator(".secret")).not_to_have_text(secret)

    assert len(receiver.requests) == 1


def test_a_repository_is_added_checked_and_subscribed_to(console: Page, tmp_path: Path) -> None:
    remote = GitRepo(tmp_path / "owner" / "repo.git")
    commit = remote.commit({"README.md": b"hello"})
    factories.AppFactory(name="shop")

    console.goto("/admin/syncsvc/repository/add/")
    look(console, "repository-add")
    console.get_by_label("URL").fill(remote.url)
    save(console)
    repository = Repository.objects.get(name="owner/repo")

    console.goto(f"/admin/syncsvc/repository/{repository.pk}/change/")
    console.get_by_role("button", name="Check now").click()
    expect(console.locator(".toast")).to_contain_text("Check asked for: owner/repo")
    expect(console.locator("#remote")).to_contain_text("Asked for")
    assert poll_repository(repository.pk)
    expect(console.locator("#remote")).to_contain_text(commit[:12])
    expect(console.locator("#remote")).to_contain_text("git reaches it")
    look(console, "repository-check")

    console.goto("/admin/syncsvc/subscription/add/")
    choose(console, "app", "shop")
    choose(console, "repository", "owner/repo")
    look(console, "subscription-add")
    save(console)
    expect(console.locator(".messagelist, .toast")).to_contain_text("was added successfully")

    subscription = Subscription.objects.get()
    assert (str(subscription), subscription.status, subscription.asked_by) == (
        "shop/owner/repo",
        Status.PENDING,
        "operator",
    )
    assert subscription.queued_at is not None


def test_every_page_opens(console: Page) -> None:
    failed = factories.SubscriptionFactory(failed=True)
    factories.SubscriptionFactory(is_active=False, synced=True)
    run = factories.SyncRunFactory(subscription=failed, outcome="failed", failed=3, created=12, error_kind="internal")
    rejected = factories.DeliveryAttemptFactory(run=run, rejected=True, path=b"docs/<i>\xff\n.md")
    factories.DeliveryAttemptFactory.create_batch(3, run=run)
    factories.DeliveredFileFactory(subscription=failed)
    doubtful = factories.DeliveredFileFactory(subscription=failed, in_doubt=True, path=b"docs/" + b"long/" * 40)
    snapshot = factories.SnapshotFactory(repository=failed.repository)

    for name in LISTS:
        console.goto(f"/admin/syncsvc/{name}/")
        expect(console.locator("#result_list")).to_be_visible()
        look(console, f"list-{name}")
    for row in (failed, failed.app, failed.repository, run, rejected, doubtful, snapshot):
        console.goto(f"/admin/syncsvc/{row._meta.model_name}/{row.pk}/change/")
        expect(console.locator("#content h1")).to_be_visible()
        look(console, f"page-{row._meta.model_name}")
    console.goto(f"/admin/syncsvc/app/{failed.app_id}/delete/")
    expect(console.get_by_role("button", name="Yes, I’m sure")).to_be_visible()
    look(console, "delete")
    console.goto("/admin/")
    look(console, "index")


def test_attempts_are_narrowed_to_one_subscription_by_typing(console: Page) -> None:
    wanted, other = factories.DeliveryAttemptFactory(), factories.DeliveryAttemptFactory()

    console.goto("/admin/syncsvc/deliveryattempt/")
    field = console.get_by_role("combobox", name="By subscription")
    field.press_sequentially(wanted.subscription.app.name)
    expect(console.locator("datalist option")).to_have_count(1)
    assert console.locator("datalist option").get_attribute("value") == str(wanted.subscription)
    field.fill(str(wanted.subscription))
    console.locator("#changelist-filter").get_by_role("button", name="Filter").click()

    expect(console.locator("#result_list")).to_contain_text(str(wanted.subscription))
    expect(console.locator("#result_list")).not_to_contain_text(str(other.subscription))
    expect(console).to_have_url(re.compile(f"subscription__exact={wanted.subscription_id}"))
    expect(field).to_have_value(str(wanted.subscription))
    look(console, "filtered")
