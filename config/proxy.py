"""Address of the client, behind proxies of one's own."""

from collections.abc import Callable
from ipaddress import ip_address

import structlog
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

PROXY_SEEN = "proxy-seen"  # in the cache: a request came through a proxy while PROXIES is 0
SEEN_SECONDS = 24 * 3600
HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")

logger = structlog.get_logger(__name__)


class ClientAddressMiddleware:
    """REMOTE_ADDR becomes what the outermost of PROXIES proxies noted in X-Forwarded-For.

    Each appends the address that it was asked from: the last ones are ours, and what a client wrote stands before them.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._told = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.PROXIES and (address := _noted(request.headers.get("X-Forwarded-For", ""), settings.PROXIES)):
            request.META["REMOTE_ADDR"] = address
        if not settings.PROXIES and not self._told and any(name in request.headers for name in HEADERS):
            self._tell()
        return self.get_response(request)

    def _tell(self) -> None:
        """Once a process: in the log, and for `check --deploy`, which runs in another."""
        self._told = True
        logger.warning(
            "proxies.unset", hint="Requests come through a proxy, and PROXIES is 0: all clients look like one."
        )
        cache.set(PROXY_SEEN, True, SEEN_SECONDS)


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
