"""URLs are stored as they were checked, whichever way they come in."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.urls import reverse

from syncsvc.models import App, Repository
from tests import factories
from tests.management.conftest import Run, run

__all__ = ["run"]

pytestmark = pytest.mark.django_db(transaction=True)

HOOK, REMOTE = "https://hook.example.com/in", "https://git.example.com/owner/repo"
type Enter = Callable[[str], None]

FORMS = {
    App: factories.app_form(name="entered"),
    Repository: {"name": "entered", "is_active": "on"},
}


def by_form(console: Client, model: Any, *, change: bool) -> Enter:
    name = model._meta.model_name
    row = known(model) if change else None
    address = reverse(f"admin:syncsvc_{name}_{'change' if change else 'add'}", args=[row.pk] if row else [])
    return lambda url: console.post(address, {**FORMS[model], "url": url}) and None


def by_command(run: Run, model: Any, *, change: bool) -> Enter:
    if change:
        row = known(model)
        return lambda url: run(f"{model._meta.model_name}_change", row.pk, f"--url={url}", "--name=entered") and None
    if model is App:
        return lambda url: run("app_add", "--", "entered", url) and None
    return lambda url: run("repository_add", "--name=entered", "--", url) and None


def by_model(model: Any) -> Enter:
    def enter(url: str) -> None:
        row = model(name="entered", url=url)
        if model is App:
            row.set_secret(factories.AppFactory().secret.reveal())
        try:
            row.full_clean()
        except ValidationError:
            return
        row.save()

    return enter


def known(model: Any) -> Any:
    return {App: factories.AppFactory, Repository: factories.RepositoryFactory}[model](name="known")


WAYS = ["form: add", "form: change", "command: add", "command: change", "model"]


@pytest.fixture(params=WAYS)
def enter(request: pytest.FixtureRequest, admin_client: Client, run: Run, model: Any) -> Enter:
    way, change = request.param, request.param.endswith("change")
    if way == "model":
        return by_model(model)
    return by_form(admin_client, model, change=change) if "form" in way else by_command(run, model, change=change)


def stored(model: Any) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT url FROM {model._meta.db_table} WHERE name = 'entered'")  # noqa: S608
        row = cursor.fetchone()
    return row and row[0]


@pytest.mark.parametrize(
    ("model", "given", "kept"),
    [
        (App, HOOK, HOOK),
        (App, f"{HOOK} ", HOOK),
        (App, f" {HOOK}", HOOK),
        (App, f"\t{HOOK}\n", HOOK),
        (App, f"{HOOK}?a=b%20c", f"{HOOK}?a=b%20c"),
        (Repository, REMOTE, REMOTE),
        (Repository, f"{REMOTE}/", REMOTE),
        (Repository, f" {REMOTE}//\n", REMOTE),
        (Repository, "https://git.example.com:0443/owner/repo", "https://git.example.com:443/owner/repo"),
        (Repository, "https://mary@git.example.com/owner/repo", REMOTE),
        (Repository, "git://GIT.example.com/owner/repo/", "git://git.example.com/owner/repo"),
        (Repository, "HTTPS://GIT.example.com/owner/repo", REMOTE),
    ],
)
def test_what_is_stored_is_what_was_checked(enter: Enter, model: Any, given: str, kept: str) -> None:
    enter(given)
    assert stored(model) == kept


@pytest.mark.parametrize(
    ("model", "given"),
    [
        *(
            (App, url)
            for url in ("", "hook.example.com", "ftp://h/", "https://h/a b", "https://h/#a", "https://u:p@h/")
        ),
        *(
            (App, url)
            for url in ("https://", "https://h:0/", "https://h:99999/", "https://[::1", f"https://h/{'x' * 2000}")
        ),
        *(
            (Repository, url)
            for url in ("", "-x", "ext::sh -c id", "https://u:p@h/a", "ftp://h/a", "https://h/a?b", "h")
        ),
    ],
)
def test_what_cannot_be_is_not_stored(enter: Enter, model: Any, given: str) -> None:
    enter(given)
    assert stored(model) is None
    assert not model.objects.exclude(name__startswith="app-").exclude(name="known").exists()


@pytest.mark.parametrize("model", [App])
@pytest.mark.parametrize("name", ["", "Shop", "shop\n", "a b", "-a", "a" * 101, "00000000-0000-0000-0000-000000000000"])
def test_a_name_that_cannot_be_is_refused_before_the_database_does(model: Any, name: str) -> None:
    with pytest.raises(ValidationError):
        model(name=name, url=HOOK, secret="x").full_clean()
