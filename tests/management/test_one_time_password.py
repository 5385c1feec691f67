"""A new one-time password for somebody who has lost theirs, or let it expire."""

from typing import Any

import pytest
from django.test import Client

from syncsvc.logins.one_time import must_change
from tests.management.conftest import Run


def log_in(client: Client, password: str) -> Any:
    return client.post("/admin/login/?next=/admin/", {"username": "mary", "password": password})


def test_it_is_good_for_one_login_and_takes_the_place_of_the_one_before(run: Run, django_user_model: Any) -> None:
    mary = django_user_model.objects.create_user("mary", password="her own", is_staff=True)
    browser = Client()
    assert log_in(browser, "her own").status_code == 302

    made = run("one_time_password", "mary", "--yes", "--json").json

    assert made["hours"] == 24
    assert browser.get("/admin/").status_code == 302  # her sessions are over
    assert log_in(Client(), "her own").status_code == 200
    assert log_in(browser, made["password"]).status_code == 302
    assert browser.get("/admin/")["Location"] == "/admin/password_change/"
    mary.refresh_from_db()
    assert must_change(mary)
    assert log_in(Client(), made["password"]).status_code == 200
    assert run("one_time_password", "mary", "--yes").out.count(":") == 1


@pytest.mark.parametrize("flags", [{"is_staff": False}, {"is_staff": True, "is_active": False}])
def test_whoever_may_not_log_in_gets_none(flags: dict[str, bool], run: Run, django_user_model: Any) -> None:
    django_user_model.objects.create_user("mary", password="her own", **flags)
    assert run("one_time_password", "mary", "--yes", "--json").refusal == "invalid"
    assert run("one_time_password", "nobody", "--yes", "--json").refusal == "not_found"
    assert django_user_model.objects.get().check_password("her own")


def test_it_asks_first(run: Run, django_user_model: Any) -> None:
    django_user_model.objects.create_user("mary", password="her own", is_staff=True)
    assert run("one_time_password", "mary", "--json").refusal == "confirm"
