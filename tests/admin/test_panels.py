"""A page says in one place which panels it has; each is a partial of its template, and its live parts are panels."""

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.template import Context, Template
from django.template.loader import get_template
from django.test import RequestFactory

from syncsvc.admin import failures, overview, queue
from syncsvc.admin.config import load_pages
from syncsvc.admin.panels import Panels, PanelsMixin
from syncsvc.admin.parts import MOVING_SECONDS, RESTING_SECONDS, page_query

load_pages()
ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates/admin/syncsvc"
ROWS = [page for page in admin.site._registry.values() if isinstance(page, PanelsMixin) and page.panels]
PAGES: dict[str, Panels] = {
    **{str(page.change_form_template): page.panels for page in ROWS},
    **{page.TEMPLATE: page.PANELS for page in (failures, overview, queue)},
}
# Templates that stand in several pages: a part of theirs is that of a row's page, wherever it is shown.
EVERYWHERE = {"_subscription_status.html": "status", "_operation_bar.html": "bar", "change_form.html": "buttons"}
LIVE = re.compile(r'{% live "([a-z_]+)"')
EVERY = re.compile(r"every=\d|data-every|hx-trigger=\"(?!submit)")


@pytest.mark.parametrize("template", PAGES)
def test_each_live_part_of_a_page_is_one_of_its_panels(template: str) -> None:
    name = template.removeprefix("admin/syncsvc/")
    assert set(LIVE.findall((TEMPLATES / name).read_text(encoding="utf-8"))) <= set(PAGES[template])


@pytest.mark.parametrize("template", PAGES)
def test_each_panel_is_a_partial_or_has_an_answer_of_its_own(template: str) -> None:
    for name, panel in PAGES[template].items():
        if panel.answer is None:
            get_template(f"{template}#{name}")


def test_no_template_has_live_parts_that_belong_to_no_page() -> None:
    live = {file.name: set(LIVE.findall(file.read_text(encoding="utf-8"))) for file in TEMPLATES.glob("*.html")}
    known = {name.removeprefix("admin/syncsvc/") for name in PAGES}
    others = {name: parts for name, parts in live.items() if parts and name not in known}
    assert others == {name: {part} for name, part in EVERYWHERE.items()}


def test_no_template_has_a_period_of_its_own() -> None:
    files = (ROOT / "templates").rglob("*.html")
    assert [file.name for file in files if EVERY.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ('{% live "now" %}', 'hx-get="?part=now"'),
        ('{% live "now" moves=True %}', f'data-every="{MOVING_SECONDS}"'),
        ('{% live "now" moves=False %}', f'data-every="{RESTING_SECONDS}"'),
        ('{% live "now" every=60 %}', 'data-every="60"'),
        ('{% live "now" version="~version~" %}', 'hx-get="?part=now&amp;v=~version~"'),
        ('{% live "now" query=query %}', 'hx-get="?state=due&amp;part=now"'),
        ('{% live "bar" page="/a/" on="changed moved" %}', 'hx-get="/a/?part=bar" hx-trigger="poll, changed from:body'),
    ],
)
def test_a_live_part_says_where_and_how_often_it_asks(tag: str, said: str) -> None:
    query = {"state": "due", "search": ""}
    assert said in Template(f"{{% load console %}}{tag}").render(Context({"query": query}))


def test_what_a_part_sends_for_itself_is_not_of_the_pages_address() -> None:
    request = RequestFactory().get("/failures/?part=list&v=1&kept=a,b&next=c&state=failed&q=acme")
    assert page_query(request).urlencode() == "state=failed&q=acme"
