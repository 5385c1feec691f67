"""Every form and every list of the console with every bad value: an answer in words, and no error page.

Forms and lists are found in the site's registry: a new one is tried without a line here.
"""

from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from syncsvc.admin.config import load_pages
from syncsvc.models import ApiToken, App, AuditEntry, Repository, Subscription
from tests import factories
from tests.admin.test_forms import Inputs
from tests.bad_values import IDS, NUMBERS, TIMES, URLS, rotated

pytestmark = pytest.mark.django_db

ROWS: dict[Any, Any] = {
    ApiToken: factories.ApiTokenFactory,
    App: factories.AppFactory,
    Group: lambda: Group.objects.create(name="a group"),
    Repository: factories.RepositoryFactory,
    Subscription: factories.SubscriptionFactory,
    User: factories.UserFactory,
}
PASSWORD = "nobody guesses this"
# What an empty form to add one still needs.
NEEDED: dict[Any, Any] = {
    ApiToken: lambda: {"name": "script"},
    App: lambda: {"name": "shop", "url": "https://example.com/hook"},
    Group: lambda: {"name": "on call"},
    Repository: lambda: {"url": "https://example.com/owner/repo"},
    Subscription: lambda: {"app": str(factories.AppFactory().pk), "repository": str(factories.RepositoryFactory().pk)},
    User: lambda: {"username": "ben", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD},
}
SENTINELS = (
    "1",
    "00000000-0000-4000-8000-000000000000",
    "true",
    "2001-01-01",
    "whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD",
)


def form_pages() -> list[Any]:
    """(model, page) of each form in which something can be saved."""
    load_pages()
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    pages = admin.site._registry.items()
    may = [(model, "add") for model, page in pages if page.has_add_permission(request)]
    may += [(model, "change") for model, page in pages if page.has_change_permission(request)]
    return [pytest.param(model, page, id=f"{page} {model.__name__}") for model, page in may]


@pytest.fixture
def form(model: Any, page: str, console: Client) -> tuple[str, dict[str, Any], Any, Any]:
    """Its address, what a browser would post that changed nothing, the row, and its class as the page makes it."""
    row = ROWS[model]() if page == "change" else None
    name = f"{model._meta.app_label}_{model._meta.model_name}"
    address = reverse(f"admin:{name}_{page}", args=[row.pk] if row else [])
    shown = console.get(address)
    posted: dict[str, Any] = dict(Inputs(shown.text, f"{model._meta.model_name}_form").values)
    posted |= NEEDED[model]() if page == "add" else {}
    made = shown.context["adminform"].form
    return address, posted, row, made


def post(console: Client, address: str, values: dict[str, Any]) -> Any:
    """Nothing stays in the database."""
    with transaction.atomic():
        answer = console.post(address, values)
        transaction.set_rollback(True)
    return answer


@pytest.mark.parametrize(("model", "page"), form_pages())
def test_a_bad_value_is_the_fields_error_and_is_kept(model: Any, page: str, form: Any, console: Client) -> None:
    """Forms are asked directly; some of what one takes is posted, and so is one value of each field that it refuses."""
    address, posted, row, made = form
    assert post(console, address, posted).status_code == 302
    for turn, key in enumerate(posted):
        field = key if key in made.fields else key[:-2]
        if field not in made.fields:
            continue
        seen_refused, taken = False, 0
        for value in tried_in(made.fields[field], field, turn + len(address)):
            with transaction.atomic():
                fresh = type(row).objects.get(pk=row.pk) if row else model()
                tried = type(made)({**posted, key: value}, instance=fresh)
                valid = tried.is_valid()
                transaction.set_rollback(True)
            if not valid:
                kept = tried[field].value()
                is_box = isinstance(tried.fields[field], forms.BooleanField)
                assert is_box or value in (kept if isinstance(kept, list | tuple) else [kept]), (key, value)
            if seen_refused if not valid else taken:
                continue
            seen_refused, taken = seen_refused or not valid, taken + valid
            answer = post(console, address, {**posted, key: value})
            assert answer.status_code in (200, 302), (key, value)
            assert answer.status_code == 302 or answer.context["errors"], (key, value)


def tried_in(field: forms.Field, name: str, turn: int) -> list[str]:
    """The values that concern a field of this type, and some of all others."""
    kinds = ((forms.IntegerField, NUMBERS), (forms.SplitDateTimeField, TIMES), (forms.ModelChoiceField, IDS))
    own = next((values for kind, values in kinds if isinstance(field, kind)), URLS if "url" in name else ())
    return [*own[turn % 2 :: 2], *rotated(7 * turn, 4)]


@pytest.mark.parametrize(("model", "page"), form_pages())
def test_bad_values_in_all_fields_at_once_break_nothing(model: Any, page: str, form: Any, console: Client) -> None:
    address, posted, _, _ = form
    for turn, value in enumerate(rotated(len(model.__name__), 4)):
        answer = post(console, address, dict.fromkeys(posted, value) if turn % 2 else {**posted, value[:50]: value})
        assert answer.status_code in (200, 302), value
    for value in ("[]", "null", "\x00"):  # a body that is no form at all
        answer = console.post(address, value, content_type="application/json")
        assert answer.status_code in (200, 302, 400)


@pytest.mark.parametrize(("model", "page"), form_pages())
def test_a_form_changes_nothing_that_it_does_not_show(model: Any, page: str, form: Any, console: Client) -> None:
    """Posted with the name of every other column, and the attributes through which relations are set."""
    address, posted, row, made = form
    shown = {name.removesuffix("_0").removesuffix("_1") for name in made.fields}
    hidden = [field for field in model._meta.get_fields() if field.name not in shown]
    names = {
        name for field in hidden for name in (field.name, getattr(field, "attname", field.name), f"{field.name}_id")
    }
    names |= {"pk", "id", "_state", "instance", "is_superuser", "is_staff", "password", "user_permissions"} - shown
    plain = saved(console, address, posted, model, row)
    assert plain
    for sentinel in SENTINELS:
        extra = dict.fromkeys(names - posted.keys(), sentinel)
        assert saved(console, address, {**posted, **extra}, model, row) == plain, sentinel


# Made anew each time.
ANEW = (
    *("secret", "prefix", "digest", "password", "created_at", "date_joined"),
    *("due_at", "expires_at", "queued_at", "asked_at"),
)


def saved(console: Client, address: str, values: dict[str, Any], model: Any, row: Any) -> list[dict[str, Any]]:
    """All rows of the model as they would be."""
    left_out = ANEW if row else (*ANEW, "id")
    with transaction.atomic():
        assert console.post(address, values).status_code == 302
        rows = list(model._default_manager.order_by(*(("pk",) if row else ())).values())
        for one in rows if model is User else ():
            user = User.objects.get(pk=one["id"])
            one |= {"groups": list(user.groups.all()), "permissions": list(user.user_permissions.all())}
        transaction.set_rollback(True)
    kept = [{name: value for name, value in one.items() if name not in left_out} for one in rows]
    return sorted(kept, key=str)


def lists() -> list[Any]:
    load_pages()
    return [pytest.param(turn, model, id=model.__name__) for turn, model in enumerate(admin.site._registry)]


@pytest.mark.parametrize(("turn", "model"), lists())
def test_a_list_with_bad_values_in_its_address_is_a_list_or_not_found(turn: int, model: Any, console: Client) -> None:
    page = admin.site._registry[model]
    AuditEntry.objects.create(action="changed", source="console")
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    names = ["q", "p", "o", "all", "e", "_facets", "_popup", "_to_field", "id__exact", "pk__in", "nothing", "when"]
    names += [
        f"{one if isinstance(one, str) else one[0]}__exact" for one in page.list_filter if not isinstance(one, type)
    ]
    names += [field.name for field in model._meta.concrete_fields][turn % 4 : 6 : 4]
    for number, name in enumerate(names):
        for value in rotated(31 * turn + number, 1):
            with transaction.atomic():
                answer = console.get(address, {name: value})
                transaction.set_rollback(True)  # also of a statement that the database refused
            assert answer.status_code in (200, 302, 400, 403, 404), (name, value)
            if answer.status_code == 302:
                assert answer["Location"].startswith(("/admin/", "?", address)), (name, value)


ADDRESSES = ("change", "history")


@pytest.mark.parametrize(("turn", "model"), lists())
def test_a_row_that_cannot_be_is_not_found(turn: int, model: Any, console: Client) -> None:
    base = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for value in rotated(3 * turn, 2):
        for page in ADDRESSES:
            answer = console.get(
                f"{base}{value.replace('?', '').replace('#', '').encode('utf-8', 'replace').decode()}/{page}/"
            )
            assert answer.status_code in (200, 301, 302, 403, 404), (page, value)


@pytest.mark.parametrize("name", ["username", "password", "next"])
def test_the_login_takes_any_text(name: str, client: Client, settings: Any) -> None:
    settings.LOGIN_FAILURES = settings.LOGIN_NAME_FAILURES = settings.LOGIN_ADDRESS_FAILURES = 10_000
    for value in rotated(len(name), 8):
        # Of a name and an address that no other test logs in with: failures are counted for a quarter of an hour.
        form = {"username": "bad-values", "password": "x", name: value}
        answer = client.post("/admin/login/", form, REMOTE_ADDR="203.0.113.201")
        assert answer.status_code == 200, value


@pytest.mark.parametrize("field", ["old_password", "new_password1", "new_password2", "usable_password"])
def test_so_do_the_forms_of_passwords(field: str, console: Client, admin_user: Any) -> None:
    good = {"old_password": "password", "new_password1": PASSWORD, "new_password2": PASSWORD}
    other = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    someone = reverse("admin:auth_user_password_change", args=[factories.UserFactory().pk])
    for value in rotated(len(field), 3):
        for address, values in (("/admin/password_change/", good), (someone, other)):
            assert post(console, address, {**values, field: value}).status_code in (200, 302), value
    assert connection.in_atomic_block
