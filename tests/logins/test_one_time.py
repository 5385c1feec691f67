"""The password that `make up` prints opens the page that changes it, and nothing else."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from syncsvc.logins.one_time import must_change, one_time_hash

pytestmark = pytest.mark.django_db
OWN = "my very own password"


@pytest.fixture
def printed() -> str:
    out = StringIO()
    call_command("prepare", stdout=out)
    found = re.search(r"password (\S+)", out.getvalue())
    assert found is not None
    return found[1]


@pytest.fixture
def client(printed: str) -> Client:
    """Logged in with what was printed."""
    client = Client()
    answer = client.post("/admin/login/?next=/admin/", {"username": "operator", "password": printed})
    assert answer.status_code == 302
    return client


def change(client: Client, old: str, new: str) -> Any:
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post("/admin/password_change/", form)


@pytest.mark.parametrize("page", ["/admin/", "/admin/syncsvc/app/", "/admin/syncsvc/operation/?p=1", "/admin/nothing/"])
def test_every_page_leads_to_the_one_that_changes_it(client: Client, page: str) -> None:
    assert client.get(page)["Location"] == "/admin/password_change/"
    shown = client.get("/admin/password_change/")
    assert shown.status_code == 200
    assert "is good for one login. Choose your own; then the console opens." in shown.content.decode()


def test_nothing_is_done_either(client: Client) -> None:
    assert client.post("/admin/syncsvc/app/add/", {"name": "x"})["Location"] == "/admin/password_change/"
    refused = client.get("/admin/api/operations")
    assert refused.status_code == 403
    assert refused.json()["kind"] == "password"


def test_a_part_of_a_page_takes_the_whole_page_there(client: Client) -> None:
    answer = client.get("/admin/", headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == "/admin/password_change/"


def test_with_ones_own_the_console_opens_and_stays_open(client: Client, printed: str) -> None:
    assert change(client, printed, OWN)["Location"] == "/admin/password_change/done/"
    assert '<a href="/admin/">Overview</a> says what to do first' in client.get("/admin/password_change/done/").text
    assert client.get("/admin/").status_code == 200
    other = Client()
    assert other.post("/admin/login/", {"username": "operator", "password": printed}).status_code == 200
    assert other.post("/admin/login/?next=/admin/", {"username": "operator", "password": OWN}).status_code == 302
    assert other.get("/admin/").status_code == 200


def test_it_cannot_be_chosen_again(client: Client, printed: str) -> None:
    answer = change(client, printed, printed)
    assert answer.status_code == 200
    assert "This is the password that was printed; choose another." in answer.content.decode()
    assert client.get("/admin/").status_code == 302


def test_logging_out_and_in_again_does_not_help(client: Client, printed: str) -> None:
    assert client.post("/admin/logout/").status_code in (200, 302)
    client.post("/admin/login/?next=/admin/", {"username": "operator", "password": printed})
    assert client.get("/admin/")["Location"] == "/admin/password_change/"


def test_a_password_set_in_any_other_way_is_ones_own(client: Client, printed: str, django_user_model: Any) -> None:
    operator = django_user_model.objects.get(username="operator")
    assert must_change(operator)
    operator.set_password(OWN)
    assert not must_change(operator)
    operator.set_unusable_password()
    assert not must_change(operator)


def test_nobody_else_pays_for_it_with_a_query(admin_client: Client) -> None:
    admin_client.get("/admin/nothing/")
    with CaptureQueriesContext(connection) as queries:
        admin_client.get("/admin/nothing/")
    assert len([query for query in queries if "auth_user" in query["sql"]]) == 1


def test_two_hashes_of_one_password_differ() -> None:
    assert one_time_hash("x") != one_time_hash("x")
