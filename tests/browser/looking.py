"""Pictures of pages, and what axe finds on them."""

import os
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
ENGINE = Axe()


def look(page: Page, name: str) -> None:
    """Keeps a picture where SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def findings(page: Page, scheme: str) -> list[str]:
    """What axe has against the page as it is, a line each."""
    options = {**RULES, "resultTypes": ["violations"]}
    found = ENGINE.run(page, options=options).response["violations"]
    return [
        f"{scheme} {page.url} {rule['id']}: {rule['help']}: {node['target']} {node['html'][:160]} {_why(node)}"
        for rule in found
        for node in rule["nodes"]
    ]


def _why(node: dict[str, list[dict[str, str]]]) -> str:
    return "; ".join(item["message"] for part in ("any", "all", "none") for item in node[part])
