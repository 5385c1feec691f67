"""Whoever fails to log in too often waits; nobody else does."""

import time
from datetime import timedelta
from typing import Any

import pytest
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings as defaults
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from syncsvc.models import ApiToken
from syncsvc.models.token import new_token
from tests.logins.conftest import PASSWORD, LogIn

pytestmark = pytest.mark.django_db


def test_ten_failures_and_a_quarter_of_an_hour_unless_somebody_says_otherwise() -> None:
    assert defaults.AXES_FAILURE_LIMIT == 10
    assert defaults.AXES_COOLOFF_TIME.total_seconds() == 900


def test_after_too_many_failures_the_right_password_is_refused_too(operator: str, log_in: LogIn) -> None:
    first, second, third = (log_in(operator, f"guess {number}") for number in range(3))
    assert (first.status_code, second.status_code) == (200, 200)
    assert third.status_code == 429
    refused = log_in(operator, PASSWORD)
    assert refused.status_code == 429
    assert refused["Retry-After"] == "900"
    page = refused.content.decode()
    assert "Too many failed logins with this name from your address. Wait 15 minutes, then try again." in page
    assert 'name="password"' in page
    assert "Please enter the correct" not in page


def test_neither_another_address_nor_another_name_has_to_wait(operator: str, log_in: LogIn) -> None:
    for number in range(4):
        log_in(operator, f"guess {number}")
    assert log_in(operator, PASSWORD, address="192.0.2.2").status_code == 302
    for number in range(4):
        log_in("nobody-" + operator, f"guess {number}", address="192.0.2.3")
    assert log_in(operator, PASSWORD, address="192.0.2.3").status_code == 302


def test_a_login_ends_the_counting(operator: str, log_in: LogIn) -> None:
    for password in ("one", "two", PASSWORD, "one", "two"):
        last = log_in(operator, password)
    assert last.status_code == 200
    assert log_in(operator, PASSWORD).status_code == 302


def test_the_wait_ends_by_itself_however_often_one_tries_meanwhile(operator: str, log_in: LogIn, settings: Any) -> None:
    settings.AXES_COOLOFF_TIME = timedelta(seconds=2)
    for number in range(3):
        log_in(operator, f"guess {number}")
    assert log_in(operator, PASSWORD).status_code == 429
    deadline = time.monotonic() + 10
    while (answer := log_in(operator, PASSWORD)).status_code == 429:
        assert time.monotonic() < deadline
    assert answer.status_code == 302


def test_an_administrator_can_end_the_wait(operator: str, log_in: LogIn) -> None:
    for number in range(3):
        log_in(operator, f"guess {number}")
    call_command("axes_reset_ip_username", "192.0.2.1", operator, verbosity=0)
    assert log_in(operator, PASSWORD).status_code == 302


def test_tokens_of_the_api_are_not_concerned(operator: str, log_in: LogIn, django_user_model: Any) -> None:
    text = new_token()
    user = django_user_model.objects.get(username=operator)
    token = ApiToken(name="script", user=user, scopes=["read"], expires_at=timezone.now() + timedelta(days=1))
    token.set_token(text)
    token.save()
    for number in range(4):
        log_in(operator, f"guess {number}")
    call = {"Authorization": f"Bearer {text}"}
    assert Client().get("/admin/api/operations", headers=call, REMOTE_ADDR="192.0.2.1").status_code == 200


@pytest.mark.usefixtures("no_redis")
def test_without_redis_operators_get_in_and_guessers_still_do_not(operator: str, log_in: LogIn) -> None:
    assert log_in(operator, PASSWORD).status_code == 302
    for number in range(3):
        log_in(operator, f"guess {number}")
    assert log_in(operator, PASSWORD).status_code == 429
    assert log_in(operator, PASSWORD, address="192.0.2.2").status_code == 302


def test_what_was_counted_before_redis_went_or_came_back_breaks_nothing(operator: str, log_in: LogIn) -> None:
    cache = AxesProxyHandler.get_implementation().cache
    assert cache.incr("never-added") == 1
    assert cache.incr("never-added") == 2
    cache.delete("never-added")
