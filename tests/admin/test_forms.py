"""The console's forms as a browser sends them; tests/admin/test_bad_values.py has what they refuse."""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from syncsvc.models import App, Repository
from tests import factories

pytestmark = pytest.mark.django_db

MODELS = {App: factories.AppFactory, Repository: factories.RepositoryFactory}


class Inputs(HTMLParser):
    """What a browser would post of the page's own form, as it is shown."""

    def __init__(self, page: str, form_id: str) -> None:
        super().__init__()
        self._form_id, self._inside, self._open, self._first = form_id, False, "", True
        self.values: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        self._inside = named.get("id") == self._form_id if tag == "form" else self._inside
        name = named.get("name", "")
        if not self._inside or (tag == "input" and named.get("type") in ("submit", "hidden", "file")):
            return
        if tag in ("select", "textarea") and name:
            self._open, self._first = name, True
            self.values[name] = ""
        elif tag == "option" and self._open and ("selected" in named or self._first):
            self.values[self._open], self._first = named.get("value", ""), False
        elif tag == "input" and name and (named.get("type") not in ("checkbox", "radio") or "checked" in named):
            self.values[name] = named.get("value", "on" if named.get("type") == "checkbox" else "")

    def handle_data(self, data: str) -> None:
        if self._inside and self._open:
            self.values[self._open] += data.strip() if self.lasttag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag in ("select", "textarea") else self._open
        self._inside = self._inside and tag != "form"


@pytest.mark.parametrize("model", [App, Repository])
def test_what_was_deleted_while_its_form_was_open_is_said(model: Any, console: Client) -> None:
    """The database leaves the row as it is, as it does where a rival has deleted it after it was read."""
    row = MODELS[model]()
    table, name = model._meta.db_table, model._meta.model_name
    with connection.cursor() as cursor:
        cursor.execute("CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        cursor.execute(f"CREATE TRIGGER gone BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION gone()")
    address = reverse(f"admin:syncsvc_{name}_change", args=[row.pk])
    posted = Inputs(console.get(address).text, f"{name}_form").values

    answer = console.post(address, {**posted, "name": "other"}, follow=True)

    assert answer.status_code == 200
    assert "was deleted meanwhile" in answer.text


URLS = ("hook.example.com", "https://hook.example.com/a b", "https://hook.example.com/#part", "ftp://hook.example.com/")


@pytest.mark.parametrize("url", URLS)
def test_an_app_with_a_bad_url_is_asked_for_another_and_keeps_the_rest(url: str, console: Client) -> None:
    values = factories.app_form(name="shop", url=url, max_batch="7")
    app = factories.AppFactory(name="known")
    for address in (reverse("admin:syncsvc_app_add"), reverse("admin:syncsvc_app_change", args=[app.pk])):
        answer = console.post(address, values)
        form = answer.context["adminform"].form
        assert set(form.errors) == {"url"}
        assert (form["url"].value(), form["max_batch"].value(), form["name"].value()) == (url, "7", "shop")
        assert 'value="7"' in answer.text
    assert list(App.objects.all()) == [app]
