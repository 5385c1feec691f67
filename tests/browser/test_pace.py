"""What an operator sees of an endpoint that throttles, of a run that is stopped, and of an app that has moved."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.utils import timezone
from playwright.sync_api import Page, expect

from syncsvc.models import App, Operation, RemoteHost, Status, Subscription
from syncsvc.sync.health import beat_seen, worker_seen
from tests import factories
from tests.browser.looking import look
from tests.gitrepo import GitRepo
from tests.management.working import workers
from tests.outages import open_circuit, throttle
from tests.receiver import OK, Receiver, Reply

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)
LIMITED = {"error_kind": "endpoint_throttled", "last_error": "The endpoint answered 429 Too Many Requests."}
type Axe = Callable[[Page], None]


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    cache.clear()
    beat_seen()
    worker_seen("worker-1@host")
    yield
    cache.clear()


def page_of(row: object) -> str:
    return f"/admin/syncsvc/{row._meta.model_name}/{row.pk}/change/"  # type: ignore[attr-defined]


def seen(page: Page, name: str, axe: Axe) -> None:
    """Sound for axe; with pictures in light, in dark and of a phone, which nothing overflows."""
    axe(page)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    look(page, f"{name}-dark")
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    look(page, name)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    look(page, f"{name}-phone")
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture
def limited() -> App:
    """Throttled for ten minutes: one subscription met that, one became due meanwhile, one has everything."""
    app: App = factories.AppFactory(name="acme", url="https://hooks.acme.example.com/in", max_per_second=96)
    throttle(app.pk, seconds=600)
    app.refresh_from_db()
    for name, values in (
        ("owner/met-it", {"due_at": app.throttled_until, **LIMITED}),
        ("owner/due", {"due_at": timezone.now() - 5 * MINUTE}),
        ("owner/well", {"synced": True}),
    ):
        snapshot = factories.SnapshotFactory(repository__name=name, files=120)
        row = factories.SubscriptionFactory(app=app, repository=snapshot.repository, snapshot=snapshot, **values)
        factories.SyncRunFactory(subscription=row, created=9, delivered=9)
    cache.clear()  # the overview was open before
    beat_seen()
    worker_seen("worker-1@host")
    return app


def test_each_page_says_that_an_app_is_throttled_and_until_when(console: Page, limited: App, axe: Axe) -> None:
    met = limited.subscriptions.get(repository__name="owner/met-it")
    pages = {
        "throttled-overview": "/admin/",
        "throttled-app": page_of(limited),
        "throttled-subscription": page_of(met),
        "throttled-subscriptions": "/admin/syncsvc/subscription/",
        "throttled-queue": "/admin/queue/",
        "throttled-apps": "/admin/syncsvc/app/",
    }
    for name, address in pages.items():
        console.goto(address)
        expect(console.locator("main")).to_contain_text("hrottled")
        seen(console, name, axe)
    console.goto("/admin/")
    expect(console.locator("#overview")).not_to_contain_text("Workers do not keep up")
    console.get_by_role("link", name="Open the app").click()
    expect(console.locator("#health")).to_contain_text("The endpoint asked for fewer requests")
    console.locator("#rows").get_by_role("link", name="Throttled 2").click()
    expect(console.locator("#rows tbody tr")).to_have_count(2)


def test_a_good_test_ends_a_throttle_and_a_circuit_before_ones_eyes(console: Page, limited: App) -> None:
    with Receiver() as receiver:
        App.objects.update(url=receiver.url)
        open_circuit(limited.pk, cooldown=600)
        console.goto(page_of(limited))
        expect(console.locator("#health")).to_contain_text("Circuit open")
        console.get_by_role("button", name="Send test").click()
        expect(console.get_by_role("status")).to_contain_text(
            "This closed the circuit and ended the wait that the endpoint had asked for"
        )
        expect(console.locator("#health")).not_to_contain_text("Circuit open")
        expect(console.locator("#health")).not_to_contain_text("fewer requests")
        assert len(receiver.requests) == 1
        look(console, "tested-app")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Receiver]:
    """Takes a while for each of the 200 files of the one repository that acme follows."""
    remote = GitRepo(tmp_path / "remote")
    remote.commit({f"docs/{n:03}.md": b"page\n" for n in range(200)})

    def crawl(headers: dict[str, str], body: bytes) -> Reply:
        receiver.stopping.wait(0.2)
        return OK

    with Receiver(crawl) as receiver:
        app = factories.AppFactory(name="acme", url=receiver.url, max_in_flight=2)
        repository = factories.RepositoryFactory(name="owner/docs", url=str(remote.path))
        factories.SubscriptionFactory(app=app, repository=repository, queued_at=timezone.now())
        yield receiver


@pytest.mark.parametrize("where", ["subscription", "run"])
def test_a_run_is_stopped_from_its_page_and_goes_on_when_it_is_asked_to(
    where: str, console: Page, slow: Receiver, axe: Axe
) -> None:
    row = Subscription.objects.get()
    with workers():
        slow.wait_for(4)
        console.goto(page_of(row if where == "subscription" else row.runs.get()))
        stop = console.locator("#buttons").get_by_role("button", name="Stop this run")
        expect(stop).to_be_visible()
        look(console, f"running-{where}")

        stop.click()
        dialog = console.get_by_role("dialog", name="Stop the run of acme/owner/docs?")
        expect(dialog).to_contain_text("what the app has acknowledged stays")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        axe(console)
        look(console, f"stop-{where}")
        dialog.get_by_role("button", name="Stop this run").click()

        expect(console.get_by_role("status")).to_have_text("Stopping the run of acme/owner/docs")
        expect(console.locator("main")).to_contain_text("Stopped by an operator")
        expect(stop).to_have_count(0)
        expect(console.locator(".badge.quiet", has_text="Stopped").first).to_be_visible()
        run = row.runs.get()
        assert (run.outcome, 0 < run.delivered < 200) == ("stopped", True)
        seen(console, f"stopped-{where}", axe)

        slow.answer = lambda headers, body: OK
        console.goto(page_of(row))
        console.locator("#buttons").get_by_role("button", name="Retry").click()
        expect(console.locator("#now .badge.good")).to_have_text("Synced")
    assert sum(run.delivered for run in row.runs.all()) == 200


def test_a_run_that_ends_while_the_question_is_open_is_said(console: Page) -> None:
    row = factories.SubscriptionFactory(
        app__name="acme",
        repository__name="owner/docs",
        status=Status.SYNCING,
        due_at=None,
        lease_token=uuid.uuid4(),
        lease_expires_at=timezone.now() + MINUTE,
    )
    run = factories.SyncRunFactory(subscription=row, running=True)
    console.goto(page_of(run))
    console.locator("#buttons").get_by_role("button", name="Stop this run").click()
    dialog = console.get_by_role("dialog", name="Stop the run of acme/owner/docs?")
    expect(dialog).to_be_visible()
    row.runs.update(outcome="synced", finished_at=timezone.now())
    Subscription.objects.update(status=Status.SYNCED, lease_token=None, lease_expires_at=None)
    dialog.get_by_role("button", name="Stop this run").click()
    expect(console.locator("body")).to_contain_text("No run of acme/owner/docs goes on; nothing was stopped.")


def test_what_the_old_url_had_is_re_synced_or_dismissed_where_it_is_said(console: Page, axe: Axe) -> None:
    app = factories.AppFactory(name="acme", url="https://new.acme.example.com/in")
    for name, files in (("owner/a", 1_200), ("owner/b", 34)):
        factories.SubscriptionFactory(app=app, repository__name=name, synced=True, old_url_files=files)
    console.goto(page_of(app))
    notice = console.locator("#old-url")
    expect(notice).to_contain_text("The old URL had acknowledged 1,234 files of 2 subscriptions")
    seen(console, "old-url-app", axe)

    notice.get_by_role("button", name="Re-sync all").click()
    dialog = console.get_by_role("dialog", name="Re-sync all repositories for acme?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).not_to_be_visible()

    notice.get_by_role("button", name="Dismiss").click()
    expect(console.get_by_role("status")).to_have_text("Dismissed: 1,234 files of 2 subscriptions")
    expect(notice).not_to_contain_text("old URL")
    expect(console.locator("#health")).to_contain_text("Healthy")


def test_an_operation_says_for_what_its_items_wait(console: Page, axe: Axe) -> None:
    operation: Operation = factories.OperationFactory(total=7, waiting=7)
    for app, rows, meet in (("acme", 3, open_circuit), ("initech", 2, throttle), ("hooli", 1, None)):
        owner = factories.AppFactory(name=app)
        for _ in range(rows):
            row = factories.SubscriptionFactory(app=owner, failed=True)
            factories.OperationItemFactory(operation=operation, subscription=row)
        if meet:
            meet(owner.pk)
    quiet = factories.SubscriptionFactory(failed=True, repository__url="https://git.example.org/a/b.git")
    RemoteHost.objects.create(name="git.example.org", quiet_until=timezone.now() + MINUTE)
    factories.OperationItemFactory(operation=operation, subscription=quiet)

    console.goto(page_of(operation))

    waits = console.locator("#items")
    expect(waits).to_contain_text("3 wait: acme's circuit is open until")
    expect(waits).to_contain_text("2 wait: initech asked for fewer requests until")
    expect(waits).to_contain_text("1 waits: git.example.org asked to be left alone until")
    expect(waits).to_contain_text("1 waits for its turn")
    expect(waits.get_by_role("row").filter(has_text="hooli/")).to_contain_text("Waits for its turn")
    seen(console, "waiting-operation", axe)
