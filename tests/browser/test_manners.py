"""How the console behaves when not all goes well: focus, answers that are late, errors, outages, less motion."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from syncsvc.admin import kept
from syncsvc.models import App, Operation, Status, Subscription
from syncsvc.operations import bulk
from tests import factories
from tests.browser.conftest import log_in
from tests.browser.test_frame import expected, path_of
from tests.operations.fleet import ASKER, RETRY

pytestmark = pytest.mark.django_db(transaction=True)
FAILURES = "/admin/failures/"
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cache.clear()
    kept.forget("overview", "chart")
    yield
    cache.clear()


@pytest.fixture
def acme() -> App:
    """Three of its repositories failed."""
    app: App = factories.AppFactory(name="acme")
    for name in ("owner/one", "owner/two", "owner/three"):
        factories.SubscriptionFactory(app=app, repository__name=name, failed=True)
    return app


def running(app: App) -> None:
    """One of its subscriptions runs: its page asks often."""
    until = timezone.now() + timedelta(minutes=1)
    factories.SubscriptionFactory(
        app=app, status=Status.SYNCING, due_at=None, lease_token=app.pk, lease_expires_at=until
    )


def test_focus_stays_at_the_row_whose_button_goes_and_at_the_bar_that_takes_its_place(console: Page, acme: App) -> None:
    console.goto(FAILURES)
    row = console.locator("ul.failing > li", has_text="owner/two")
    row.get_by_role("button", name="Retry").focus()
    console.keyboard.press("Enter")
    expect(row.get_by_role("button", name="Retry")).to_have_count(0)
    expect(row.get_by_role("link", name="acme/owner/two")).to_be_focused()

    console.goto(path_of(acme))
    console.locator("#buttons").get_by_role("button", name="Retry all failed").focus()
    console.keyboard.press("Enter")
    console.get_by_role("dialog").get_by_role("button", name="Retry").focus()
    console.keyboard.press("Enter")
    expect(console.locator("#buttons .operation-bar").get_by_role("link")).to_be_focused()

    other = factories.AppFactory()
    console.goto(path_of(other))
    console.locator("#buttons").get_by_role("button", name="Pause").focus()
    console.keyboard.press("Enter")
    console.get_by_role("dialog").get_by_role("button", name="Pause").focus()
    console.keyboard.press("Enter")
    expect(console.locator("#buttons").get_by_role("button", name="Resume")).to_be_focused()


@pytest.mark.parametrize("moment", ["its answer is on the way", "its answer waits to be swapped in"])
def test_a_part_that_hears_of_a_change_while_it_is_answered_shows_what_is_so_after_it(
    console: Page, acme: App, moment: str
) -> None:
    operation = bulk.start(RETRY, ASKER, confirmed=True)
    console.goto(path_of(operation))
    buttons = console.locator("#buttons")
    expect(buttons.get_by_role("button", name="Pause")).to_be_visible()
    held: list[Route] = []
    console.route(re.compile("part=buttons"), lambda route: held.append(route), times=1)
    change = "document.body.dispatchEvent(new CustomEvent('changed', {bubbles: true}))"

    console.evaluate(change)
    while not held:
        console.wait_for_timeout(10)
    route = held[0]
    answer = route.fetch()
    Operation.objects.update(status=Operation.Status.PAUSED)
    if moment == "its answer is on the way":
        console.evaluate(change)
        route.fulfill(response=answer)
    else:
        swapping = "document.querySelector('#buttons').matches('.htmx-swapping')"
        console.evaluate(
            f"window.seen = new Promise(done => {{ const look = () => {swapping} ? ({change}, done())"
            " : requestAnimationFrame(look); look() }); null"
        )
        route.fulfill(response=answer)
        console.evaluate("window.seen")

    expect(buttons.get_by_role("button", name="Resume")).to_be_visible()


def test_an_answer_is_not_lost_when_the_list_changes_meanwhile(console: Page, acme: App) -> None:
    held: list[Route] = []
    console.route(re.compile(r"/retry/$"), lambda route: held.append(route))
    console.goto(FAILURES)
    row = console.locator("ul.failing > li", has_text="owner/two")
    with console.expect_request(re.compile(r"/retry/$")):
        row.get_by_role("button", name="Retry").click()
    Subscription.objects.filter(repository__name="owner/one").update(status=Status.SYNCED, retry_count=0)
    with console.expect_response(re.compile("part=list")):
        console.evaluate("htmx.trigger('#list', 'poll')")
    expect(row.get_by_role("button", name="Retry")).to_be_disabled()
    held[0].continue_()

    expect(console.get_by_role("status").filter(has_text="Retry queued for owner/two")).to_be_visible()
    expect(row.locator(".badge")).to_have_text("Pending")
    expect(console.locator("ul.failing > li", has_text="owner/one").locator(".badge")).to_have_text("Synced")


def test_an_operation_of_one_shows_on_the_pages_that_another_has_open(
    console: Page, acme: App, browser: Browser, live_server: LiveServer, django_user_model: type
) -> None:
    running(acme)  # what runs is asked for often
    django_user_model.objects.create_superuser("another", password="open sesame")
    context = browser.new_context(base_url=live_server.url)
    other, overview = context.new_page(), context.new_page()
    other.goto(path_of(acme))
    log_in(other, "another")
    kept.forget("overview")
    overview.goto("/admin/")
    console.goto(path_of(acme))

    console.get_by_role("button", name="Retry all failed").click()
    console.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(console.get_by_role("status")).to_have_text("Retry queued for 3 subscriptions")
    expect(overview.locator(".operation-bar")).to_contain_text("0/3 completed")
    Subscription.objects.filter(repository__name="owner/one").update(status=Status.SYNCED)  # as soon as one moves
    expect(other.locator("#buttons .operation-bar")).to_contain_text("0/3 completed")
    expect(other.get_by_role("button", name="Retry all failed")).to_have_count(0)
    context.close()


def test_a_login_that_ends_in_the_middle_of_polling_is_said_and_nothing_asks_on(
    console: Page, acme: App, complaints: list[str]
) -> None:
    console.goto(FAILURES)
    Session.objects.all().delete()
    cache.clear()
    console.evaluate("htmx.trigger('#list', 'poll')")

    expect(console.locator("#connection")).to_have_text("You are logged out. Log in again")
    expect(console.locator("[data-every]")).to_have_count(0)
    console.locator("#connection").get_by_role("link").click()
    log_in(console)
    expect(console).to_have_url(re.compile(FAILURES))
    expected(complaints, "401")


def test_a_part_that_ends_in_an_error_is_said_and_so_is_its_end(
    console: Page, acme: App, complaints: list[str]
) -> None:
    console.goto(FAILURES)
    console.route(re.compile("part=causes"), lambda route: route.fulfill(status=500))
    console.evaluate("htmx.trigger('#causes', 'poll')")
    banner = console.locator("#connection")
    expect(banner).to_contain_text("An error within syncsvc; its log says more. What you see is from")
    expect(console.locator(".cause")).to_have_count(1)

    console.unroute(re.compile("part=causes"))
    console.evaluate("htmx.trigger('#causes', 'poll')")
    expect(banner).to_be_empty()
    expected(complaints, "500")


def test_a_dialog_stays_when_text_in_it_is_selected_beyond_its_edge(console: Page, acme: App) -> None:
    console.goto(FAILURES)
    console.get_by_role("button", name="Retry all failed").click()
    heading = console.get_by_role("dialog").get_by_role("heading")
    box = heading.bounding_box()
    assert box
    console.mouse.move(box["x"] + 5, box["y"] + 5)
    console.mouse.down()
    console.mouse.move(5, 5)
    console.mouse.up()
    expect(heading).to_be_visible()
    console.mouse.click(5, 5)
    expect(heading).to_have_count(0)


def test_a_delete_is_asked_in_the_dialog(console: Page, acme: App) -> None:
    console.goto(f"{path_of(acme)}#settings")
    link = console.get_by_role("button", name="Delete")  # a link that says it is one
    link.click()
    dialog = console.get_by_role("dialog", name="Delete acme?")
    expect(dialog).to_contain_text("With it go: 3 subscriptions. This cannot be undone.")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    console.keyboard.press("Escape")
    expect(link).to_be_focused()
    link.click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Delete").click()
    expect(console.get_by_role("status")).to_contain_text("was deleted successfully")
    assert not App.objects.exists()
    console.goto("/admin/auth/user/")
    console.locator("#result_list").get_by_role("link", name="operator").click()
    console.get_by_role("button", name="Delete").click()
    expect(console).to_have_url(re.compile("/auth/user/[0-9]+/delete/$"))


def test_one_is_retried_without_redis_and_the_overview_says_that_it_is_away(
    console: Page, acme: App, settings: Settings
) -> None:
    settings.REDIS_URL = NOWHERE
    settings.CACHES = {name: {**values, "LOCATION": NOWHERE} for name, values in settings.CACHES.items()}
    console.goto("/admin/")
    expect(console.get_by_role("region", name="What is wrong")).to_contain_text("Redis does not answer.")
    console.get_by_role("link", name="Show failures").click()
    row = console.locator("ul.failing > li", has_text="owner/two")
    row.get_by_role("button", name="Retry").click()
    expect(console.get_by_role("status").filter(has_text="Retry queued for owner/two")).to_be_visible()
    expect(row.locator(".badge")).to_have_text("Pending")


def test_what_is_chosen_in_a_list_is_retried_by_keyboard(console: Page, acme: App) -> None:
    console.goto("/admin/syncsvc/subscription/?status__exact=failed")
    console.locator("#action-toggle").focus()
    console.keyboard.press("Space")
    console.get_by_label("Action:").focus()
    console.keyboard.type("Retry")
    console.keyboard.press("Tab")
    run = console.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_focused()
    console.keyboard.press("Enter")
    dialog = console.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    console.keyboard.press("Escape")
    expect(run).to_be_focused()
    console.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    console.keyboard.press("Tab")
    console.keyboard.press("Enter")
    expect(console.get_by_role("status")).to_have_text("Retry queued for 3 subscriptions")
    expect(console.locator("#started .operation-bar")).to_contain_text("0/3 completed")
    assert Operation.objects.get().total == 3

    console.get_by_text("History", exact=True).focus()
    console.keyboard.press("Enter")
    expect(console.get_by_role("link", name="Runs", exact=True)).to_be_visible()
    console.keyboard.press("Escape")
    expect(console.get_by_role("link", name="Runs", exact=True)).to_be_hidden()


def test_nothing_moves_for_who_wants_less_motion(console: Page, acme: App) -> None:
    moving = """() => [...document.querySelectorAll("*")].flatMap((element) => ["", "::before"].map((end) => {
        const { animationName, transitionDuration } = getComputedStyle(element, end || null);
        return animationName !== "none" || parseFloat(transitionDuration) > 0;
    })).filter(Boolean).length"""
    running(acme)
    console.goto(path_of(acme))
    console.evaluate("document.querySelector('#buttons button').setAttribute('aria-busy', 'true')")
    assert console.evaluate(moving)
    console.emulate_media(reduced_motion="reduce")
    assert not console.evaluate(moving)


def test_the_pages_beside_those_of_rows_are_accessible(
    console: Page, acme: App, axe: Callable[[Page], None], complaints: list[str]
) -> None:
    failed = acme.subscriptions.first()
    item = factories.OperationItemFactory(subscription=failed)
    site, own = "/admin/syncsvc/", path_of(failed).removesuffix("change/")
    paths = [
        *(f"{site}{name}/" for name in ("operationitem", "apitoken")),
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/",
        path_of(item),
        f"{site}subscription/add/",
        f"{site}repository/add/",
        f"{own}resync/",
        f"{path_of(acme).removesuffix('change/')}retry_failed/",
        f"{path_of(failed.repository).removesuffix('change/')}resync_for/",
        "/admin/nowhere/",
    ]
    for path in paths:
        console.goto(path)
        axe(console)
        console.set_viewport_size({"width": 390, "height": 844})
        assert console.evaluate("document.documentElement.scrollWidth") <= 390, path
        console.set_viewport_size({"width": 1280, "height": 900})
    console.goto(path_of(failed))
    console.locator("#buttons").get_by_role("button", name="Re-sync").click()
    expect(console.get_by_role("dialog")).to_be_visible()
    axe(console)
    console.context.clear_cookies()
    console.goto("/admin/")
    axe(console)
    expected(complaints, "404")
