"""Chromium, and what it sees of a page: light, dark, and as a phone does."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from screenshots.pages import Picture
from screenshots.png import small

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


class Camera:
    def __init__(self, browser: Browser, base: str, folder: Path) -> None:
        self._browser, self._base, self._folder = browser, base, folder
        self.page = self._new_page()
        self._reckoner = browser.new_page()

    def _new_page(self) -> Page:
        context = self._browser.new_context(base_url=self._base, reduced_motion="reduce", timezone_id="UTC")
        context.set_default_timeout(20_000)
        return context.new_page()

    def log_in(self, name: str, password: str) -> None:
        self.page.goto("/admin/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("navigation", name="Console").wait_for()

    def take(self, picture: Picture, path: str) -> None:
        page = self.page
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        page.goto(path)
        if picture.press:
            page.get_by_role("button", name=picture.press, exact=True).first.click()
            page.locator("dialog[open] form").wait_for()
            page.locator("[aria-busy=true]").wait_for(state="detached")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            self._save(page, f"{picture.name}-{scheme}", height=0 if picture.press else picture.height)
        page.emulate_media(color_scheme="light")
        if picture.phone:
            page.set_viewport_size(PHONE)  # type: ignore[arg-type]
            self._save(page, f"{picture.name}-phone", height=picture.height)

    def _save(self, page: Page, name: str, *, height: int) -> None:
        """`height` 0: what is in sight, as a dialog is."""
        size = page.viewport_size or WIDE
        content: int = page.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(content, height) if height else size["height"]}
        taken = page.screenshot(full_page=bool(height), clip=clip, animations="disabled")  # type: ignore[arg-type]
        (self._folder / f"{name}.png").write_bytes(small(taken, self._reckoner))


@contextmanager
def chromium() -> Iterator[Browser]:
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not executable:
        raise SystemExit("Chromium is needed: `apt-get install chromium`, or set CHROMIUM to its path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()
