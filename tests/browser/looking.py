"""Pictures of pages, and what axe finds on them."""

import os
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOURS = ["color-contrast", "link-in-text-block"]  # all that is different in the dark
RUN = "options => axe.run(document, {...options, resultTypes: ['violations']}).then(found => found.violations)"


def look(page: Page, name: str) -> None:
    """Keeps a picture where SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def findings(page: Page, scheme: str) -> list[str]:
    """What axe has against the page as it is, a line each."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE_SCRIPT)
    rules = OF_COLOURS if scheme == "dark" else STANDARDS
    found: list[dict[str, Any]] = page.evaluate(RUN, {"runOnly": rules})
    return [
        f"{scheme} {page.url} {rule['id']}: {rule['help']}: {node['target']} {node['html'][:160]} {_why(node)}"
        for rule in found
        for node in rule["nodes"]
    ]


def _why(node: dict[str, list[dict[str, str]]]) -> str:
    return "; ".join(item["message"] for part in ("any", "all", "none") for item in node[part])
