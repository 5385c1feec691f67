"""Whoever fails to log in too often waits; nobody else does."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings as defaults
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from syncsvc.models import ApiToken
from syncsvc.models.token import new_token
from tests.logins.conftest import PASSWORD, LogIn

pytestmark = pytest.mark.django_db


def test_ten_or_twenty_failures_and_a_quarter_of_an_hour_unless_somebody_says_otherwise() -> None:
    most = (defaults.LOGIN_FAILURES, defaults.LOGIN_NAME_FAILURES, defaults.LOGIN_ADDRESS_FAILURES)
    assert most == (10, 20, 20)
    assert defaults.LOGIN_WAIT_SECONDS == 900


def test_after_too_many_failures_the_right_password_is_refused_too(operator: str, log_in: LogIn) -> None:
    first, second, third = (log_in(operator, f"guess {number}") for number in range(3))
    assert (first.status_code, second.status_code) == (200, 200)
    assert third.status_code == 429
    refused = log_in(operator, PASSWORD)
    assert refused.status_code == 429
    assert 890 < int(refused["Retry-After"]) <= 900
    page = refused.content.decode()
    assert re.search(
        r"Too many failed logins with this name from your address\. Wait 15 minutes, then try again \([0-9:]{8} UTC\)",
        page,
    )
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
    settings.LOGIN_WAIT_SECONDS = 2
    for number in range(3):
        log_in(operator, f"guess {number}")
    assert log_in(operator, PASSWORD).status_code == 429
    deadline = time.monotonic() + 10
    while (answer := log_in(operator, PASSWORD)).status_code == 429:
        assert time.monotonic() < deadline
    assert answer.status_code == 302


@pytest.mark.parametrize("guesses", [27, 60])
def test_guesses_at_one_name_from_several_addresses_are_slowed(operator: str, log_in: LogIn, guesses: int) -> None:
    """Each address stays below its own limit, and below that of the pair."""
    looked_at = [
        log_in(operator, f"guess {number}", address=f"198.51.100.{number % 30}").status_code == 200
        for number in range(guesses)
    ]
    assert sum(looked_at) == 19  # the 20th is looked at, too, and says that it was one too many
    refused = log_in(operator, PASSWORD, address="198.51.100.77")
    assert refused.status_code == 429
    assert "Too many failed logins with this name. Wait 15 minutes" in refused.text
    assert log_in("nobody-" + operator, "guess", address="198.51.100.78").status_code == 200


def test_guesses_from_elsewhere_do_not_lock_out_who_has_logged_in_before(operator: str, log_in: LogIn) -> None:
    assert log_in(operator, PASSWORD, address="203.0.113.5").status_code == 302
    for number in range(25):
        log_in(operator, f"guess {number}", address=f"198.51.100.{number}")
    assert log_in(operator, PASSWORD, address="198.51.100.77").status_code == 429
    assert log_in(operator, PASSWORD, address="203.0.113.5").status_code == 302


def test_many_names_from_one_address_are_slowed(operator: str, log_in: LogIn) -> None:
    answers = [log_in(f"{operator}-{number}", "guess", address="192.0.2.50") for number in range(25)]
    assert [answer.status_code for answer in answers] == [200] * 19 + [429] * 6
    assert "Too many failed logins from your address. Wait 15 minutes" in answers[-1].text
    assert log_in(operator, PASSWORD, address="192.0.2.50").status_code == 429
    assert log_in(operator, PASSWORD, address="192.0.2.51").status_code == 302


def test_an_account_of_ones_own_does_not_let_one_guess_on_at_others(operator: str, log_in: LogIn) -> None:
    for number in range(30):
        log_in(f"{operator}-{number}", "guess", address="192.0.2.52")
        log_in(operator, PASSWORD, address="192.0.2.52")
    assert log_in(operator, PASSWORD, address="192.0.2.52").status_code == 429


def test_the_network_of_an_ipv6_address_counts(operator: str, log_in: LogIn) -> None:
    for number in range(3):
        log_in(operator, f"guess {number}", address=f"2001:db8:0:7::{number:x}")
    assert log_in(operator, PASSWORD, address="2001:db8:0:7:ffff::1").status_code == 429
    assert log_in(operator, PASSWORD, address="2001:db8:0:8::1").status_code == 302
    assert log_in(operator, PASSWORD, address="::ffff:192.0.2.60").status_code == 302
    for number in range(3):
        log_in(operator, f"guess {number}", address="192.0.2.60")
    assert log_in(operator, PASSWORD, address="::ffff:192.0.2.60").status_code == 429


def test_name_and_address_are_not_one_text(operator: str, log_in: LogIn) -> None:
    """`op` from 1.192.0.2 is not `op1` from 192.0.2.…"""
    for number in range(3):
        log_in(operator + "1", f"guess {number}", address="92.0.2.1")
    assert log_in(operator, PASSWORD, address="192.0.2.1").status_code == 302


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("axes_reset_username", ["NAME"]),
        ("axes_reset_ip", ["192.0.2.1"]),
        ("axes_reset_ip_username", ["192.0.2.1", "NAME"]),
    ],
)
def test_a_command_ends_the_wait_of_a_name_and_of_an_address(
    operator: str, log_in: LogIn, command: str, arguments: list[str], settings: Any
) -> None:
    settings.LOGIN_ADDRESS_FAILURES = 3
    settings.LOGIN_FAILURES = 1_000 if command == "axes_reset_ip" else 3
    if command == "axes_reset_username":
        settings.LOGIN_ADDRESS_FAILURES = 1_000
        settings.LOGIN_NAME_FAILURES = 3
    for number in range(3):
        log_in(operator, f"guess {number}")
    assert log_in(operator, PASSWORD).status_code == 429
    call_command(command, *(operator if argument == "NAME" else argument for argument in arguments), verbosity=0)
    assert log_in(operator, PASSWORD).status_code == 302


def test_a_command_that_names_nobody_does_not_say_that_nobody_waits() -> None:
    with pytest.raises(CommandError, match="axes_reset_username NAME"):
        call_command("axes_reset", verbosity=0)


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
