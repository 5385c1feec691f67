"""Whose request it is: behind one's own proxies what the outermost noted, otherwise who connected."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from config.proxy import ClientAddressMiddleware
from tests.logins.conftest import PASSWORD, LogIn


def seen(header: str) -> str:
    addresses: list[str] = []

    def answer(request: HttpRequest) -> HttpResponse:
        addresses.append(request.META["REMOTE_ADDR"])
        return HttpResponse()

    headers = {"X-Forwarded-For": header} if header else {}
    ClientAddressMiddleware(answer)(RequestFactory().get("/", REMOTE_ADDR="192.0.2.9", headers=headers))
    return addresses[0]


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, "198.51.100.7", "192.0.2.9"),
        (1, "", "192.0.2.9"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.66, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.66, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (2, "198.51.100.7", "192.0.2.9"),
        (1, "198.51.100.7:4711", "198.51.100.7"),
        (1, "[2001:db8::1]:4711", "2001:db8::1"),
        (1, "2001:DB8::1", "2001:db8::1"),
        (1, "unknown", "192.0.2.9"),
    ],
)
def test_the_address(settings: Any, proxies: int, header: str, address: str) -> None:
    settings.PROXIES = proxies
    assert seen(header) == address


@pytest.mark.django_db
def test_a_header_of_ones_own_does_not_let_one_guess_on(operator: str, log_in: LogIn, settings: Any) -> None:
    settings.PROXIES = 1
    for number in range(3):
        log_in(operator, "guess", **{"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.7"})
    assert log_in(operator, PASSWORD, **{"X-Forwarded-For": "198.51.100.7"}).status_code == 429
    assert log_in(operator, PASSWORD, **{"X-Forwarded-For": "198.51.100.8"}).status_code == 302
