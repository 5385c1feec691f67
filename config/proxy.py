"""Whose request it is, behind proxies of one's own."""

from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class ClientAddressMiddleware:
    """REMOTE_ADDR becomes what the outermost of PROXIES proxies noted in X-Forwarded-For.

    Each appends the address that it was asked from: the last ones are ours, and what a client wrote stands before them.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.PROXIES and (address := _noted(request.headers.get("X-Forwarded-For", ""), settings.PROXIES)):
            request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def _noted(header: str, proxies: int) -> str | None:
    addresses = [part.strip() for part in header.split(",")]
    if len(addresses) < proxies:
        return None
    text = addresses[-proxies]
    if text.startswith("["):  # [2001:db8::1]:4711
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:4711
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
