"""Each page of the console has its pictures in docs/console.md."""

import re
from pathlib import Path

from django.contrib import admin

from screenshots.pages import PICTURES, files
from syncsvc.admin.navigation import HISTORY, OTHERS, PAGES

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = (DOCS / "console.md").read_text(encoding="utf-8")
MOST_BYTES = 4_000_000  # of all pictures: a clone has them in each version


def test_every_page_of_the_console_has_a_picture() -> None:
    lists = {name for _, name, _ in (*PAGES, *HISTORY, *OTHERS)}
    ours = [model for model in admin.site._registry if model._meta.app_label == "syncsvc"]
    rows = {f"syncsvc_{model._meta.model_name}_change" for model in ours}
    assert (lists | rows | {"login"}) - {picture.address for picture in PICTURES} == set()


def test_the_pictures_are_those_that_are_taken() -> None:
    assert sorted(file.name for file in (DOCS / "console").iterdir()) == files()


def test_the_page_shows_or_links_every_picture_and_no_other() -> None:
    named = set(re.findall(r"console/([a-z-]+\.png)", TEXT))
    assert named <= set(files())
    assert {name for name in files() if not name.endswith("-dark.png")} <= named


def test_what_is_shown_in_light_is_shown_in_dark() -> None:
    shown = re.findall(r'srcset="console/([a-z-]+)-dark\.png"><img src="console/([a-z-]+)-light\.png"', TEXT)
    assert shown
    assert all(dark == light for dark, light in shown)


def test_the_pictures_are_small() -> None:
    assert sum(file.stat().st_size for file in (DOCS / "console").iterdir()) < MOST_BYTES
