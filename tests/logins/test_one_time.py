"""The password that `make up` prints opens the page that changes it, and nothing else."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver
from django.utils import timezone

from syncsvc.logins.one_time import must_change, one_time_hash, use
from tests.api.conftest import member, token_of

__all__ = ["member", "token_of"]

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


def log_in(password: str, client: Client | None = None) -> Any:
    return (client or Client()).post("/admin/login/?next=/admin/", {"username": "operator", "password": password})


def test_a_second_login_is_refused_and_says_what_to_do(client: Client, printed: str) -> None:
    for other in (Client(), client):
        client.post("/admin/logout/")
        refused = log_in(printed, other)
        assert refused.status_code == 200
        assert "This password was good for one login, and has been used." in refused.text
        assert "manage.py one_time_password operator" in refused.text
        assert "_auth_user_id" not in other.session
    assert "has been used" not in log_in("another password").text


@pytest.mark.parametrize(
    ("age", "status"), [(timedelta(hours=23, minutes=59), 302), (timedelta(hours=24, minutes=1), 200)]
)
def test_it_expires_unused_after_a_day(age: timedelta, status: int, printed: str, django_user_model: Any) -> None:
    hashed = one_time_hash(printed, made_at=timezone.now() - age)
    django_user_model.objects.update(password=hashed)
    answer = log_in(printed)
    assert answer.status_code == status
    assert status == 302 or "was good for a day, and was not used in it." in answer.text


def test_one_that_a_version_without_time_made_is_refused(printed: str, django_user_model: Any) -> None:
    django_user_model.objects.update(password=make_password(printed, salt="onetimeABCDEFGHIJKLMNOPQRSTUV"))
    assert "has been used" in log_in(printed).text


def test_a_newer_way_of_hashing_takes_no_mark_away(printed: str, settings: Any, django_user_model: Any) -> None:
    """Django hashes a password again at login where its settings have changed since."""
    settings.PASSWORD_HASHERS = [f"django.contrib.auth.hashers.{name}PasswordHasher" for name in ("PBKDF2", "MD5")]
    client = Client()
    assert log_in(printed, client).status_code == 302
    assert must_change(django_user_model.objects.get())
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


@pytest.mark.django_db(transaction=True)
def test_of_two_logins_at_once_one_is_refused(printed: str) -> None:
    """Both have the right password, and have read that it is not spent, before either spends it."""
    users = [get_user_model().objects.get(username="operator") for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        refusals = list(pool.map(lambda user: spend(user, printed), users))
    assert sorted(bool(refusal) for refusal in refusals) == [False, True]


def spend(user: Any, password: str) -> str:
    try:
        return use(user, password)
    finally:
        connection.close()


# As each parser of the header might read it: Ninja's by a blank, ours by any space, some not at all.
HEADERS = (
    *(None, "", " ", "Bearer", "Bearer ", "Bearer\tx", " Bearer x", "BEARER x", "Basic b3BlcmF0b3I6eA=="),
    *("Token x", ",", "Bearer x, Basic y", "Be\xe4rer x"),
)
PUBLIC = ("/", "/healthz", "/readyz", "/admin/login/", "/admin/logout/", "/admin/password_change/", "/admin/jsi18n/")


def entrances(patterns: Any, prefix: str = "/") -> Iterator[str]:
    """Each address of the web process, with something in the place of each of its variables."""
    for pattern in patterns:
        route = prefix + re.sub(r"[\^$]|\\Z", "", str(pattern.pattern))
        if hasattr(pattern, "url_patterns"):
            yield from entrances(pattern.url_patterns, route)
        else:
            route = re.sub(r"<uuid:\w+>", "00000000-0000-4000-8000-000000000000", route)
            yield re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]+>", "auth", route).replace("\\", "")


def test_no_entrance_takes_a_one_time_session_whatever_header_comes_with_it(client: Client) -> None:
    addresses = set(entrances(get_resolver().url_patterns)) - set(PUBLIC)
    assert len(addresses) > 80
    assert any("/api/retry/all" in address for address in addresses)
    opened = []
    for address in sorted(addresses):
        headers = HEADERS if address.startswith("/admin/api/") else (None, "Basic b3BlcmF0b3I6eA==")
        for header in headers:
            for method in ("GET", "POST"):
                sent = {} if header is None else {"HTTP_AUTHORIZATION": header}
                answer = client.generic(method, address, b"{}", "application/json", **sent)
                if answer.status_code < 300 or answer.status_code >= 500:
                    opened.append((method, address, header, answer.status_code))
                elif answer.status_code == 302:
                    assert answer["Location"].startswith(("/admin/password_change/", "/admin/login/")), address
    assert opened == []


def test_a_token_opens_the_api_beside_a_one_time_session(client: Client, token_of: Any, member: Any) -> None:
    header = {"Authorization": f"Bearer {token_of(member('viewer'))}"}
    assert client.get("/admin/api/operations", headers=header).status_code == 200
    assert client.get("/admin/api/operations").json()["kind"] == "password"
