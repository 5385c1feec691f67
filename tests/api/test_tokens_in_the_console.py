"""Tokens in the console: made there, shown once, revoked there."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc.models import ApiToken
from tests.factories import deeds

pytestmark = pytest.mark.django_db

ADD = "/admin/syncsvc/apitoken/add/"
TOKEN = re.compile(r"syncsvc_[\w-]{43}")


def form(**values: Any) -> dict[str, Any]:
    when = {"expires_at_0": "2099-01-01", "expires_at_1": "00:00"}
    return {"name": "nightly", "scopes": ["read", "retry"], **when, **values}


def page_of(token: ApiToken) -> str:
    return reverse("admin:syncsvc_apitoken_change", args=[token.pk])


@pytest.fixture
def console(member: Callable[[str], Any]) -> Client:
    client = Client()
    client.force_login(member("administrator"))
    return client


def test_a_new_token_is_shown_once_and_works(console: Client, client: Client) -> None:
    (shown,) = TOKEN.findall(console.post(ADD, form(), follow=True).text)

    row = ApiToken.objects.get()
    assert (row.prefix, row.scopes) == (shown[:14], ["read", "retry"])
    assert not TOKEN.search(console.get(page_of(row)).text)
    assert client.get("/admin/api/operations", headers={"Authorization": f"Bearer {shown}"}).status_code == 200


def test_a_token_that_waits_to_be_shown_is_encrypted_and_never_logged(console: Client) -> None:
    console.post(ADD, form())

    assert not any(TOKEN.search(str(session.get_decoded())) for session in Session.objects.all())
    assert not any(TOKEN.search(f"{entry.object_name} {entry.text}") for entry in deeds().all())


def test_the_form_suggests_ninety_days_and_reading(console: Client) -> None:
    suggested = console.get(ADD).context["adminform"].form.initial

    assert suggested["scopes"] == ["read"]
    assert abs(suggested["expires_at"] - timezone.now() - timedelta(days=90)) < timedelta(minutes=2)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"expires_at_0": "2001-01-01"}, "expires_at"),
    ],
)
def test_a_token_that_could_do_nothing_is_refused(wrong: dict[str, Any], field: str, console: Client) -> None:
    page = console.post(ADD, form(**wrong))

    assert page.context["adminform"].form.errors.keys() == {field}
    assert not ApiToken.objects.exists()


def test_who_is_no_superuser_makes_tokens_for_themselves_alone(console: Client, admin_user: User) -> None:
    console.post(ADD, form(user=admin_user.pk))

    assert ApiToken.objects.get().user.username == "a-administrator"


def test_a_superuser_may_make_one_for_a_script_that_cannot_log_in(admin_client: Client) -> None:
    robot = User.objects.create_user("robot")

    admin_client.post(ADD, form(user=robot.pk))

    assert ApiToken.objects.get().user == robot


def test_a_token_stays_what_it_was_made_as(console: Client) -> None:
    console.post(ADD, form())
    before = ApiToken.objects.get()

    console.post(page_of(before), form(name="weekly", scopes=["resync"], expires_at_0="2199-01-01"))

    after = ApiToken.objects.get()
    assert after.name == "weekly"
    assert (after.scopes, after.expires_at, after.user) == (before.scopes, before.expires_at, before.user)


def test_revoking_ends_it_at_once(console: Client, client: Client) -> None:
    (shown,) = TOKEN.findall(console.post(ADD, form(), follow=True).text)
    revoke = reverse("admin:syncsvc_apitoken_revoke", args=[ApiToken.objects.get().pk])

    page = console.post(revoke, follow=True).text

    assert "revoked: it opens nothing" in page
    assert "It was revoked before." in console.post(revoke, follow=True).text
    assert client.get("/admin/api/operations", headers={"Authorization": f"Bearer {shown}"}).status_code == 401


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_only_administrators_make_tokens(group: str, member: Callable[[str], Any]) -> None:
    client = Client()
    client.force_login(member(group))

    assert client.post(ADD, form()).status_code == 403
    assert not ApiToken.objects.exists()


def test_the_list_says_what_each_is_good_for(console: Client) -> None:
    console.post(ADD, form())

    page = console.get("/admin/syncsvc/apitoken/?q=nightly").text

    assert "read, retry" in page
    assert "Active" in page
    assert "Scripts" in console.get("/admin/syncsvc/").text
