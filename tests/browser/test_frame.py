"""The console's frame: dialog, toasts, busy buttons, what changes in place, and what is said when syncsvc is away."""

import re
from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from syncsvc.models import Operation, Status, Subscription
from syncsvc.operations import control
from syncsvc.operations.asker import Asker
from tests import factories
from tests.browser.conftest import log_in
from tests.browser.looking import look

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failed() -> Subscription:
    """A failed one, of acme and owner/repo, that would send 4,512 files again."""
    snapshot = factories.SnapshotFactory(repository__name="owner/repo", files=4_512, bytes=31_000_000)
    return factories.SubscriptionFactory(
        app__name="acme", repository=snapshot.repository, snapshot=snapshot, failed=True
    )


def path_of(row: object) -> str:
    return f"/admin/syncsvc/{row._meta.model_name}/{row.pk}/change/"  # type: ignore[attr-defined]


def expected(complaints: list[str], *words: str) -> None:
    """Takes what the browser had to say about this."""
    complaints[:] = [line for line in complaints if not any(word in line for word in words)]


def test_the_dialog_says_the_effect_and_closes_in_each_way(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed))
    opener = console.locator("#buttons").get_by_role("button", name="Re-sync")
    dialog = console.get_by_role("dialog", name="Re-sync owner/repo for acme?")

    for way in ("cancel", "escape", "outside"):
        opener.click()
        expect(dialog).to_contain_text("This sends about 4,512 files (31 MB) again.")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        look(console, "dialog")
        if way == "cancel":
            console.keyboard.press("Enter")
        elif way == "escape":
            console.keyboard.press("Escape")
        else:
            console.mouse.click(5, 5)
        expect(dialog).to_be_hidden()
        expect(opener).to_be_focused()
    assert Subscription.objects.get(pk=failed.pk).epoch == failed.epoch


def test_a_re_sync_is_confirmed_and_the_badge_changes_in_place(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed))
    console.locator("#buttons").get_by_role("button", name="Re-sync").click()
    console.get_by_role("dialog").get_by_role("button", name="Re-sync").click()

    expect(console.get_by_role("status")).to_have_text("Re-sync queued for owner/repo")
    expect(console.get_by_role("dialog")).to_be_hidden()
    expect(console.locator(".status").first).to_contain_text("Pending")
    assert Subscription.objects.get(pk=failed.pk).epoch == failed.epoch + 1


def test_a_retry_changes_the_badge_in_place_and_follows_it_to_its_end(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed))
    badge = console.locator(".status .badge").first
    expect(badge).to_have_text("Failed")
    console.evaluate("window.stayed = true")

    console.locator("#buttons").get_by_role("button", name="Retry").click()
    expect(console.get_by_role("status")).to_have_text("Retry queued for owner/repo")
    expect(badge).to_have_text("Pending")
    look(console, "retried")
    Subscription.objects.filter(pk=failed.pk).update(status=Status.SYNCED, due_at=None, queued_at=None)
    expect(badge).to_have_text("Synced")
    expect(console.locator(".status[data-every]")).to_have_count(0)
    assert console.evaluate("window.stayed")


def test_a_refusal_stays_until_it_is_dismissed(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed))
    Subscription.objects.filter(pk=failed.pk).update(
        queued_at=timezone.now(), status=Status.PENDING, due_at=timezone.now()
    )
    console.locator("#buttons").get_by_role("button", name="Retry").click()
    refused = console.get_by_role("alert").filter(has_text="Failed to queue retry: A retry is already in progress")
    expect(refused).to_be_visible()
    look(console, "refused")
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_a_button_is_busy_at_once_and_for_a_moment(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed))
    retry = console.locator("#buttons").get_by_role("button", name="Retry")
    console.evaluate(
        """() => {
            const retry = [...document.querySelectorAll("#buttons button")].find((b) => b.textContent === "Retry");
            window.seen = [];
            new MutationObserver(() => window.seen.push([performance.now(), retry.ariaBusy, retry.disabled]))
                .observe(retry, { attributeFilter: ["aria-busy", "disabled"] });
            retry.addEventListener("click", () => (window.clicked = performance.now()));
        }"""
    )
    retry.click()
    expect(console.get_by_role("status")).to_have_text("Retry queued for owner/repo")
    expect(retry).to_be_enabled()

    seen = console.evaluate("window.seen.map(([at, busy, disabled]) => [at - window.clicked, busy, disabled])")
    assert seen[0][0] < 100
    assert seen[0][1:] == ["true", True]
    assert seen[-1][0] >= 200
    assert seen[-1][1:] == [None, False]


def test_a_toast_of_success_goes_by_itself(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed))
    console.clock.install()
    console.locator("#buttons").get_by_role("button", name="Retry").click()
    toast = console.locator(".toast", has_text="Retry queued for owner/repo")
    expect(toast).to_be_visible()
    toast.hover()
    console.clock.run_for(10_000)
    expect(toast).to_be_visible()
    console.mouse.move(0, 0)
    console.clock.run_for(2_000)
    expect(toast).to_have_count(0)


def test_who_is_logged_out_meanwhile_is_told_and_led_back(
    console: Page, failed: Subscription, complaints: list[str]
) -> None:
    console.goto(path_of(failed))
    Session.objects.all().delete()
    cache.clear()
    console.locator("#buttons").get_by_role("button", name="Re-sync").click()

    banner = console.locator("#connection")
    expect(banner).to_have_text("You are logged out. Log in again")
    look(console, "logged-out")
    banner.get_by_role("link", name="Log in again").click()
    log_in(console)
    expect(console).to_have_url(re.compile(re.escape(path_of(failed))))
    expected(complaints, "401")


def test_a_lost_connection_is_said_and_so_is_its_return(
    console: Page, failed: Subscription, complaints: list[str]
) -> None:
    console.goto(path_of(failed))
    console.context.set_offline(True)
    console.locator("#buttons").get_by_role("button", name="Retry").click()

    banner = console.locator("#connection")
    expect(banner).to_have_text(
        re.compile(r"No connection to syncsvc\. What you see is from \d\d:\d\d:\d\d; trying again\.")
    )
    expect(console.locator(".toast")).to_have_text("Failed to queue retry: no connection to syncsvc.")
    expect(console.locator("#buttons").get_by_role("button", name="Retry")).to_be_enabled()
    look(console, "no-connection")
    assert Subscription.objects.get().status == Status.FAILED

    console.context.set_offline(False)
    expect(banner).to_be_empty(timeout=15_000)
    expected(complaints, "ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest")


def test_an_operation_shows_its_bar_in_place_of_its_button_until_its_end(console: Page, failed: Subscription) -> None:
    console.goto(path_of(failed.app))
    console.locator("#buttons").get_by_role("button", name="Retry all failed").click()
    dialog = console.get_by_role("dialog", name="Retry 1 failed notification?")
    look(console, "dialog-bulk")
    dialog.get_by_role("button", name="Retry").click()

    bar = console.locator(".operation-bar")
    expect(bar).to_contain_text("0/1 completed")
    expect(console.locator("#buttons").get_by_role("button", name="Retry all failed")).to_have_count(0)
    look(console, "bar")
    console.reload()
    expect(bar).to_contain_text("0/1 completed")

    control.cancel(Operation.objects.get().pk, Asker(name="another", source=Operation.Source.COMMAND))
    expect(bar).to_contain_text("Bulk retry cancelled: 0 succeeded, 0 failed, 1 cancelled")
    expect(console.locator("#buttons").get_by_role("button", name="Retry all failed")).to_be_visible()
    expect(console.locator(".operation-bar[data-every]")).to_have_count(0)
    look(console, "bar-ended")


def test_a_hidden_tab_asks_for_nothing_and_at_once_when_it_is_shown(console: Page, failed: Subscription) -> None:
    factories.OperationFactory(total=1, waiting=1, scope={"kind": "retry", "app_id": str(failed.app_id)})
    console.goto(path_of(failed.app))
    asked: list[str] = []
    console.on("request", lambda request: asked.append(request.url) if "part=bar" in request.url else None)
    hide = (
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )

    console.evaluate(hide, True)
    console.wait_for_timeout(3_000)
    assert asked == []
    with console.expect_request(lambda request: "part=bar" in request.url, timeout=1_000):
        console.evaluate(hide, False)


def test_without_javascript_the_same_confirmation_is_a_page(
    browser: Browser, live_server: LiveServer, failed: Subscription, django_user_model: type
) -> None:
    django_user_model.objects.create_superuser("operator", password="open sesame")
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(path_of(failed))
    log_in(page)
    page.get_by_role("button", name="Re-sync", exact=True).click()
    expect(page.get_by_role("heading", name="Re-sync owner/repo for acme?")).to_be_visible()
    look(page, "confirm-page")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Re-sync", exact=True).click()
    page.get_by_role("button", name="Re-sync", exact=True).click()
    expect(page.locator(".messagelist")).to_have_text("Re-sync queued for owner/repo")
    expect(page.locator(".status").first).to_contain_text("Pending")

    page.goto(path_of(failed.app))
    page.get_by_role("button", name="Retry all failed").click()
    expect(page.locator(".messagelist")).to_contain_text("Failed to start bulk retry: there is no failed subscription")
    context.close()


# Names of the fields that do not end within their rows.
STICK_OUT = """[...document.querySelectorAll(".form-row :is(input, textarea, select)")].filter((field) =>
    field.getBoundingClientRect().right > field.closest(".form-row").getBoundingClientRect().right + 1
).map((field) => field.name)"""
LISTS = ("subscription", "app", "repository", "syncrun", "deliveryattempt", "deliveredfile", "snapshot", "operation")


def test_every_page_is_accessible_and_fits_a_phone(
    console: Page, failed: Subscription, axe: Callable[[Page], None]
) -> None:
    factories.SubscriptionFactory(synced=True)
    operation = factories.OperationFactory(total=3, waiting=1, running=1, succeeded=1)
    run = factories.SyncRunFactory(subscription=failed, outcome="failed", failed=3, created=12, error_kind="internal")
    attempt = factories.DeliveryAttemptFactory(run=run, rejected=True)
    file = factories.DeliveredFileFactory(subscription=failed)
    paths = [f"/admin/syncsvc/{name}/" for name in LISTS]
    paths += map(path_of, (failed, failed.app, failed.repository, operation, run, attempt, file, failed.snapshot))
    paths += [f"{path_of(failed.app).removesuffix('change/')}{page}/" for page in ("delete", "history")]
    paths += ["/admin/syncsvc/app/add/", "/admin/syncsvc/apitoken/add/", "/admin/password_change/"]
    for path in paths:
        console.goto(path)
        axe(console)
        name = re.sub(r"[0-9a-f-]{36}|\d+", "row", path).strip("/").replace("/", "-")
        look(console, f"frame-{name}")
        console.set_viewport_size({"width": 390, "height": 844})
        look(console, f"frame-{name}-phone")
        assert console.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert console.evaluate(STICK_OUT) == [], path
        console.set_viewport_size({"width": 1280, "height": 900})
