"""How often logging in may fail before the next try has to wait: a handler of django-axes (AXES_HANDLER).

Failures are counted three times: by name and address, by name from anywhere, and by address whatever the name. Once a
count reaches its limit, no password is looked at until LOGIN_WAIT_SECONDS after the last failure that counted.
Guesses from elsewhere do not lock an operator out: the count by name does not hold for an address from which this name
has logged in within KNOWN_SECONDS.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from axes.handlers.base import AbstractAxesHandler, AxesBaseHandler
from axes.helpers import get_cache, get_client_username
from axes.signals import user_locked_out
from django.conf import settings
from django.core.management.base import CommandError

KNOWN_SECONDS = 30 * 24 * 3600
WAIT = "login_wait"  # the request's attribute that says why it was refused
SITE_BITS = 64  # of an IPv6 address: whoever has one has all of its network


@dataclass(frozen=True, slots=True)
class Limit:
    """`subject` names in words what the failures have in common."""

    key: str
    most: int
    subject: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a login was refused, and for how many seconds every further one is."""

    subject: str
    seconds: int


class LoginLimits(AbstractAxesHandler, AxesBaseHandler):  # type: ignore[misc] # they have no types
    def __init__(self) -> None:
        self.cache: Any = get_cache()

    def is_locked(self, request: Any, credentials: dict[str, Any] | None = None) -> bool:
        return self._wait(request, credentials) is not None

    def get_failures(self, request: Any, credentials: dict[str, Any] | None = None) -> int:
        return max(int(self.cache.get(limit.key, 0)) for limit in self._limits(request, credentials))

    def user_login_failed(self, sender: Any, credentials: dict[str, Any], request: Any = None, **more: Any) -> None:
        """Counts, unless the try was refused: whoever tries meanwhile does not wait longer."""
        if request is None or request.axes_locked_out:
            return
        for limit in self._limits(request, credentials):
            self._count(limit.key)
        if self._wait(request, credentials) is not None:
            request.axes_locked_out, request.axes_credentials = True, credentials
            name = get_client_username(request, credentials)
            user_locked_out.send("axes", request=request, username=name, ip_address=request.axes_ip_address)

    def user_logged_in(self, sender: Any, request: Any, user: Any, **more: Any) -> None:
        """Ends the count of the pair alone: an account of one's own must not end those of all other names."""
        name, address = user.get_username(), request.axes_ip_address
        self.cache.delete(self._pair(name, address))
        known = _key("known", name, _site(address))
        if not self.cache.add(known, 1, timeout=KNOWN_SECONDS):
            self.cache.touch(known, timeout=KNOWN_SECONDS)

    def user_logged_out(self, sender: Any, request: Any, user: Any, **more: Any) -> None:
        return None

    def reset_attempts(
        self, *, ip_address: str | None = None, username: str | None = None, ip_or_username: bool = False
    ) -> int:
        """Ends the wait of a name wherever it is tried, of an address, or both; what `axes_reset_…` commands call."""
        if username is None and ip_address is None:
            raise CommandError("Say whose wait is to end: axes_reset_username NAME, or axes_reset_ip ADDRESS.")
        keys = []
        if username is not None:
            keys.append(_key("name", username))
            self._count(_key("generation", username))  # the pairs of this name get new keys
        if ip_address is not None:
            keys.append(_key("address", _site(ip_address)))
        return sum(bool(self.cache.delete(key)) for key in keys) + (username is not None)

    def _limits(self, request: Any, credentials: dict[str, Any] | None) -> Iterator[Limit]:
        name, address = get_client_username(request, credentials) or "", request.axes_ip_address
        yield Limit(self._pair(name, address), settings.LOGIN_FAILURES, "with this name from your address")
        if not self.cache.get(_key("known", name, _site(address))):
            yield Limit(_key("name", name), settings.LOGIN_NAME_FAILURES, "with this name")
        yield Limit(_key("address", _site(address)), settings.LOGIN_ADDRESS_FAILURES, "from your address")

    def _wait(self, request: Any, credentials: dict[str, Any] | None) -> Wait | None:
        """The longest of the waits, which is noted on the request."""
        reached = [limit for limit in self._limits(request, credentials) if self.cache.get(limit.key, 0) >= limit.most]
        waits = [Wait(limit.subject, max(1, self.cache.seconds_left(limit.key))) for limit in reached]
        wait = max(waits, key=lambda one: one.seconds, default=None)
        setattr(request, WAIT, wait)
        return wait

    def _count(self, key: str) -> None:
        if not self.cache.add(key, 1, timeout=settings.LOGIN_WAIT_SECONDS):
            self.cache.incr(key)
            self.cache.touch(key, timeout=settings.LOGIN_WAIT_SECONDS)

    def _pair(self, name: str, address: str | None) -> str:
        generation = self.cache.get(_key("generation", name), 0)
        return _key("pair", name, _site(address), str(generation))


def _key(kind: str, *parts: str) -> str:
    """Names are not kept in Redis: people type their password where their name belongs."""
    return f"{kind}-{hashlib.sha256('\0'.join(parts).encode(errors='surrogatepass')).hexdigest()}"


def _site(address: str | None) -> str:
    """The address of an IPv4 client, the network of an IPv6 one."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, SITE_BITS), strict=False))
    return str(found)
