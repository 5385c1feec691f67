"""A real Chromium, Debian's or any other that is installed; no test is skipped for the lack of one."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.browser.looking import findings

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _chromium() -> str:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail("These tests need Chromium: `apt-get install chromium`, or set CHROMIUM to its path.")
    return found


@pytest.fixture(scope="package")
def browser(django_db_setup: None) -> Iterator[Browser]:
    executable = _chromium()
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        # Playwright's loop runs in this thread, where Django would take every query for one of asynchronous code.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says against the page; a test that expects some clears it."""
    return []


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, complaints: list[str]) -> Iterator[Page]:
    """A page of its own session; the test fails where the browser's console had an error or a policy was violated."""
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def log_in(page: Page, name: str = "operator") -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("open sesame")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("navigation", name="Console")).to_be_visible()


@pytest.fixture
def console(page: Page, django_user_model: type) -> Page:
    """The console, logged in through its own form."""
    django_user_model.objects.create_superuser("operator", password="open sesame")
    page.goto("/admin/")
    log_in(page)
    return page


@pytest.fixture
def axe() -> Callable[[Page], None]:
    """Fails where axe finds something against WCAG 2.2 AA on the page, in light or in dark."""

    def check(page: Page) -> None:
        found: list[str] = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += findings(page, scheme)
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        assert not found, "\n".join(found)

    return check
