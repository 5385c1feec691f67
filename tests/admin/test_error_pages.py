"""Errors look like the console, know their visitor, and say what happened and what to do."""

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import get_resolver

from syncsvc.admin.error_pages import PAGES
from tests import factories

pytestmark = pytest.mark.django_db

NAVIGATION, LOGIN = '<nav id="navigation"', '<a href="/admin/login/'
# An address that answers with this status: the method, the address, and headers.
CAUSES: list[tuple[int, str, str, dict[str, str]]] = [
    (400, "POST", "/admin/login/", {}),
    (404, "GET", "/nowhere", {}),
    (404, "GET", "/admin/nowhere/", {}),
    (405, "GET", "/admin/logout/", {}),
    (405, "GET", "/admin/syncsvc/app/{app}/test/", {}),
]


def ask(client: Client, status: int, method: str, address: str, headers: dict[str, str]) -> Any:
    address = address.format(app=factories.AppFactory().pk)
    body = {f"field{n}": "x" for n in range(1_001)} if status == 400 else None  # more than Django reads
    return client.get(address, headers=headers) if method == "GET" else client.post(address, body, headers=headers)


@pytest.mark.parametrize(("status", "method", "address", "headers"), CAUSES)
def test_who_is_logged_in_has_the_consoles_frame(
    status: int, method: str, address: str, headers: dict[str, str], console: Client
) -> None:
    page = ask(console, status, method, address, headers)
    assert (page.status_code, page["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert NAVIGATION in page.text
    assert LOGIN not in page.text
    assert f"<h1>{PAGES[status].title}</h1>" in page.text
    assert f"<title>{PAGES[status].title} | syncsvc</title>" in page.text
    assert '<a href="/admin/">Overview</a></p>' in page.text
    if status == 405:
        assert page["Allow"]


@pytest.mark.parametrize(("status", "method", "address", "headers"), CAUSES[:3:2] + CAUSES[3:4])
def test_who_is_not_is_led_to_the_login(
    status: int, method: str, address: str, headers: dict[str, str], client: Client
) -> None:
    page = ask(client, status, method, address, headers)
    if page.status_code == 302:  # the console says nothing to strangers
        assert page["Location"] in ("/admin/", f"/admin/login/?next={address}")
        return
    assert page.status_code == status
    assert NAVIGATION not in page.text
    assert LOGIN in page.text
    assert f"<h1>{PAGES[status].title}</h1>" in page.text


def test_an_unknown_address_is_said_to_strangers_too_and_kept_for_the_login(client: Client) -> None:
    page = client.get("/nowhere?a=1&b=<x>")
    assert page.status_code == 404
    assert '<a href="/admin/login/?next=%2Fnowhere%3Fa%3D1%26b%3D' in page.text
    assert "<x>" not in page.text


def test_a_form_from_elsewhere_or_without_cookies_is_said_to_be_that(django_user_model: Any) -> None:
    user = django_user_model.objects.create_superuser("ann")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    without = client.post("/admin/syncsvc/app/add/", {"name": "x"})
    assert without.status_code == 403
    assert "Your browser sent no cookie" in without.text
    client.get("/admin/syncsvc/app/add/")
    stale = client.post("/admin/syncsvc/app/add/", {"name": "x", "csrfmiddlewaretoken": "y" * 64})
    assert stale.status_code == 403
    assert "The page was out of date" in stale.text
    assert NAVIGATION in stale.text
    stranger = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "ann", "password": "x"})
    assert (stranger.status_code, NAVIGATION in stranger.text) == (403, False)


def test_a_host_that_is_none_of_ours_learns_nothing(client: Client, console: Client) -> None:
    for one in (client, console):
        page = one.get("/admin/", headers={"Host": "evil.example"})
        assert page.status_code == 400
        assert NAVIGATION not in page.text
        assert "<h1>Not understood</h1>" in page.text


def broken(request: Any, *_: Any, **__: Any) -> Any:
    raise RuntimeError("a bug")


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """One view that breaks: a pattern's callback is a value of the URLs, and no code of ours."""
    pattern = next(one for one in get_resolver().url_patterns if getattr(one, "name", "") == "healthz")
    monkeypatch.setattr(pattern, "callback", broken)


def test_a_bug_has_a_page_in_the_frame_of_who_met_it(bug: None, console: Client, client: Client) -> None:
    for one, known in ((console, True), (Client(), False)):
        one.raise_request_exception = False
        page = one.get("/healthz")
        assert page.status_code == 500
        assert "<h1>Something broke</h1>" in page.text
        assert "a bug" not in page.text
        assert (NAVIGATION in page.text, LOGIN in page.text) == (known, not known)


def test_where_the_database_is_what_broke_the_page_does_without(bug: None, console: Client, settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.admin.no_sessions"
    console.raise_request_exception = False
    page = console.get("/healthz")
    assert page.status_code == 500
    assert "<h1>Something broke</h1>" in page.text
    assert NAVIGATION not in page.text


def test_the_api_has_its_own(console: Client) -> None:
    page = console.get("/admin/api/operations", headers={"Host": "evil.example"})
    assert (page.status_code, page["Content-Type"]) == (400, "application/problem+json")


NEXT = [
    *("https://evil.example/", "//evil.example", "http:///evil.example", "/\\evil.example", "javascript:alert(1)"),
    *("https://[::1", "\x00", "/admin/\r\nX: y", "  //evil.example", "https:evil.example", "/" + "x" * 5_000, ""),
    *("\N{FULLWIDTH SOLIDUS}\N{FULLWIDTH SOLIDUS}evil.example", "data:text/html,x", "ftp://testserver/", "\\\\evil"),
]


@pytest.mark.parametrize("where", NEXT, ids=range(len(NEXT)))
def test_a_refused_next_leads_to_the_overview_or_at_least_to_no_other_site(where: str, django_user_model: Any) -> None:
    django_user_model.objects.create_superuser("ann", password="open sesame, please")
    form = {"username": "ann", "password": "open sesame, please"}
    for client, body, query in ((Client(), form, {"next": where}), (Client(), {**form, "next": where}, {})):
        answer = client.post("/admin/login/", body, query_params=query)
        assert answer.status_code == 302
        location = answer["Location"]
        assert location == "/admin/" or (location[:1] == "/" and location[1:2] not in ("/", "\\"))
        assert "\n" not in location
        if where not in NEXT[6:8]:
            assert location == "/admin/"
        assert client.get("/admin/login/", query_params={"next": where})["Location"] == location
    assert django_settings.LOGIN_REDIRECT_URL == "admin:index"
