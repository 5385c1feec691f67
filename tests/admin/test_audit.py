"""Who did what: written for every page and login, shown to administrators, and there when its user is gone."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from syncsvc.admin.audited import AuditedMixin
from syncsvc.models import ApiToken, App, AuditEntry, Repository
from tests import factories
from tests.admin.test_forms import Inputs
from tests.api.conftest import member, token_of

__all__ = ["member", "token_of"]

pytestmark = pytest.mark.django_db
LIST = "/admin/syncsvc/auditentry/"


def said() -> list[tuple[str, str, str, str]]:
    entries = AuditEntry.objects.order_by("id")
    return [(entry.action, entry.actor, entry.object_name, entry.text) for entry in entries]


def as_operator() -> tuple[Client, Any]:
    user = User.objects.create_superuser("ann", password="open sesame, please")
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    AuditEntry.objects.all().delete()
    return client, user


def test_every_page_that_changes_something_writes_it() -> None:
    assert [model for model, page in admin.site._registry.items() if not isinstance(page, AuditedMixin)] == []


def test_what_was_added_changed_and_deleted_outlives_its_user() -> None:
    client, ann = as_operator()
    app_values = factories.app_form(name="shop", url="https://example.com/hook")
    client.post(reverse("admin:syncsvc_app_add"), app_values)
    app = App.objects.get()
    change = reverse("admin:syncsvc_app_change", args=[app.pk])
    shown = Inputs(client.get(change).text, "app_form").values
    client.post(change, {**shown, "max_batch": "7"})
    client.post(reverse("admin:auth_group_add"), {"name": "on call"})
    client.post(
        reverse("admin:auth_user_add"),
        {"username": "ben", "usable_password": "true", "password1": "a b c d e f g", "password2": "a b c d e f g"},
    )
    client.post(reverse("admin:auth_group_delete", args=[Group.objects.get(name="on call").pk]), {"post": "yes"})
    client.post(reverse("admin:syncsvc_app_delete", args=[app.pk]), {"post": "yes"})
    Client().force_login(ann)
    ann.delete()

    texts = [text for _, _, _, text in said()]
    assert "Max batch" in texts[1]
    assert said()[:6] == [
        ("added", "ann", "shop", "Added."),
        ("changed", "ann", "shop", texts[1]),
        ("added", "ann", "on call", "Added."),
        ("added", "ann", "ben", "Added."),
        ("deleted", "ann", "on call", "Deleted."),
        ("deleted", "ann", "shop", "Deleted."),
    ]
    assert set(AuditEntry.objects.values_list("address", flat=True)[1:]) == {"192.0.2.7"}


def test_logins_failures_and_logouts_are_written_without_what_was_typed() -> None:
    User.objects.create_superuser("ann", password="open sesame, please")
    client = Client(REMOTE_ADDR="192.0.2.7")
    for name, password in (("ann", "guess"), ("ann", "again"), ("hunter2", "ann"), ("ann", "open sesame, please")):
        client.post("/admin/login/?next=/admin/", {"username": name, "password": password})
    form = {
        "old_password": "open sesame, please",
        "new_password1": "nobody knows me",
        "new_password2": "nobody knows me",
    }
    client.post("/admin/password_change/", form)
    client.post("/admin/logout/")

    assert said() == [
        ("login_failed", "ann", "ann", ""),
        ("login_failed", "", "", "No user of the console has this name."),
        ("logged_in", "ann", "ann", ""),
        ("changed", "ann", "ann", "Changed their own password."),
        ("logged_out", "ann", "ann", ""),
    ]
    assert AuditEntry.objects.earliest("id").times == 2
    assert "hunter2" not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_the_first_and_last_use_of_a_token_are_written_once_an_address(token_of: Any, member: Any) -> None:
    header = {"Authorization": f"Bearer {token_of(member('viewer'))}"}
    for address in ("192.0.2.7", "192.0.2.7", "192.0.2.8"):
        assert Client(REMOTE_ADDR=address).get("/admin/api/operations", headers=header).status_code == 200
    Client(REMOTE_ADDR="192.0.2.9").get("/admin/api/operations", headers={"Authorization": "Bearer x"})

    token = ApiToken.objects.get()
    entries = AuditEntry.objects.filter(action="token_used").order_by("id")
    assert [(one.actor, one.object_id, one.address) for one in entries] == [
        ("a-viewer", str(token.pk), "192.0.2.7"),
        ("a-viewer", str(token.pk), "192.0.2.8"),
    ]


def test_administrators_see_it_and_others_do_not(member: Any) -> None:
    for group, status in (("viewer", 403), ("operator", 403), ("administrator", 200)):
        client = Client()
        client.force_login(member(group))
        assert client.get(LIST).status_code == status
        assert ("Audit" in client.get("/admin/").text) == (status == 200)
        assert client.get(f"{LIST}{AuditEntry.objects.latest('id').pk}/change/").status_code == status
        for page in ("add/", f"{AuditEntry.objects.latest('id').pk}/delete/"):
            assert client.post(f"{LIST}{page}", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"one", "two", "three"}),
        ("action__exact=deleted", {"two"}),
        ("source__exact=api", {"three"}),
        ("when=day", {"one", "two", "three"}),
        ("q=ann", {"one"}),
        ("q=shop", {"two"}),
        ("q=192.0.2.9", {"three"}),
        ("q=192.0.2.9%25x", set()),
        ("q=an", set()),
    ],
)
def test_it_is_searched_and_filtered(query: str, shown: set[str], console: Client) -> None:
    AuditEntry.objects.all().delete()
    AuditEntry.objects.create(action="changed", actor="ann", source="console", text="one")
    AuditEntry.objects.create(action="deleted", actor="ben", source="console", object_name="shop", text="two")
    AuditEntry.objects.create(action="changed", actor="ben", source="api", address="192.0.2.9", text="three")
    answer = console.get(f"{LIST}?{query}", follow=True)
    assert answer.status_code == 200
    assert {text for text in ("one", "two", "three") if f">{text}<" in answer.text} == shown


ROWS: list[Callable[[], Model]] = [factories.AppFactory, factories.RepositoryFactory, factories.ApiTokenFactory]


@pytest.mark.parametrize("factory", ROWS)
def test_the_log_of_a_row_is_that_part_of_the_audit(factory: Any, console: Client) -> None:
    row, other = factory(), factory()
    for name, one in (("ann", row), ("ben", other)):
        about = {"object_type": str(one._meta.verbose_name), "object_id": str(one.pk)}
        AuditEntry.objects.create(action="changed", actor=name, source="console", text="Did <b>it</b>.", **about)
    page = console.get(reverse(f"admin:syncsvc_{row._meta.model_name}_history", args=[row.pk])).text
    assert "ann" in page
    assert "ben" not in page
    assert "Did &lt;b&gt;it&lt;/b&gt;." in page


def test_no_secret_is_in_it(console: Client) -> None:
    key = "whsec_" + "QUJD" * 8
    console.post(reverse("admin:syncsvc_app_add"), factories.app_form(name="s", url="https://e.com/", new_secret=key))
    values = {"name": "r", "url": "https://e.com/a/b", "is_active": "on", "username": "u", "new_token": "t0psecret"}
    assert console.post(reverse("admin:syncsvc_repository_add"), values).status_code == 302
    row = Repository.objects.get()
    change = reverse("admin:syncsvc_repository_change", args=[row.pk])
    assert console.post(change, {**values, "new_token": "an0ther"}).status_code == 302
    kept = json.dumps(list(AuditEntry.objects.values()), default=str)
    assert "Token or password" in kept
    assert not any(secret in kept for secret in (key, "t0psecret", "an0ther"))
