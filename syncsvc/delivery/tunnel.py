"""The way of webhooks through the proxy: what libcurl is told, for which hosts it is asked, and what it answers."""

import re
from collections.abc import Iterable
from time import monotonic

import pycurl

from syncsvc.delivery.answers import Verdict
from syncsvc.delivery.refusals import status_name
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.policy import RefusedError
from syncsvc.egress.proxied import check_proxied
from syncsvc.egress.proxy import Outcome, Proxy, outcome
from syncsvc.types import ErrorKind

# As long as libcurl keeps what it looked up by itself.
LOOKED_UP_SECONDS = 30.0
# Narrower than what URL parsers take, so that all of them read the same host.
_TARGET = re.compile(
    r"https?://(?:(?P<name>[A-Z0-9_.-]+)|\[(?P<address>[0-9A-F:.]+)\])(?::[0-9]{0,5})?(?:[/?].*)?", re.IGNORECASE
)
_NOT_PLAIN = "The webhook URL's host is not plainly written; write it like https://example.com:8443/hook."


class Tunnel:
    """One transport's. `timeout` is the longest that a look-up of a name may take, in seconds."""

    def __init__(self, proxy: Proxy, addresses: AddressPolicy, *, timeout: float) -> None:
        self.proxy = proxy
        self._addresses = addresses
        self._timeout = timeout
        self._found: dict[str, tuple[float, str]] = {}

    def options(self) -> Iterable[tuple[int, object]]:
        login = [(pycurl.PROXYUSERNAME, self.proxy.username), (pycurl.PROXYPASSWORD, self.proxy.password)]
        return (
            (pycurl.PROXY, f"http://{self.proxy.authority}"),
            (pycurl.PROXYTYPE, pycurl.PROXYTYPE_HTTP),
            # Also for http: the proxy is told host and port in every case, and no path or header.
            (pycurl.HTTPPROXYTUNNEL, 1),
            (pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC),
            *(login if self.proxy.username else ()),
        )

    def refusal(self, url: str) -> str:
        """Why the proxy is not asked for this URL's host; blank where it is."""
        match = _TARGET.fullmatch(url)
        if not match:
            return _NOT_PLAIN
        host = match["name"] or match["address"]
        until, text = self._found.get(host, (0.0, ""))
        if monotonic() >= until:
            text = self._look(host)
            self._found[host] = monotonic() + LOOKED_UP_SECONDS, text
        return text

    def _look(self, host: str) -> str:
        try:
            check_proxied(
                host, 443, addresses=self._addresses, setting="WEBHOOK_ALLOWED_NETWORKS", timeout=self._timeout
            )
        except RefusedError as error:
            return str(error)
        return ""

    def verdict(self, status: int, *, host: str, wants_login: bool, timed_out: bool, connected: bool) -> Verdict | None:
        """What it means that no tunnel came about; None where the proxy has opened it.

        `status` is the proxy's answer to CONNECT, 0 for none; `connected` says that the proxy took the connection.
        """
        if 200 <= status < 300:
            return None
        name = self.proxy.authority
        if status:
            return _refused(status, name, host, wants_login=wants_login)
        if timed_out and connected:
            text = f"The egress proxy {name} opened no connection to {host} in time. Check that the endpoint is up."
            return Verdict(ErrorKind.ENDPOINT_TIMEOUT, text)
        problem = "broke off the connection" if connected else "cannot be reached"
        return Verdict(
            ErrorKind.EGRESS_PROXY,
            f"The egress proxy {name} {problem}; nothing was sent to {host}."
            " Check that the proxy runs, and EGRESS_PROXY.",
        )


def _refused(status: int, name: str, host: str, *, wants_login: bool) -> Verdict:
    answered = f"The egress proxy {name} answered {status_name(status)}"
    match outcome(status, wants_login=wants_login):
        case Outcome.WANTS_LOGIN:
            text = f"{answered}: it wants another user name and password. Correct those in EGRESS_PROXY."
            return Verdict(ErrorKind.EGRESS_PROXY, text)
        case Outcome.REFUSED:
            text = f"{answered}: it refuses connections to {host}. Change the webhook URL, or the proxy's rules."
            return Verdict(ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS, text)
        case Outcome.UNREACHABLE:
            text = f"{answered}: it could not connect to {host}. Check that the endpoint is up, and the proxy's log."
            return Verdict(ErrorKind.ENDPOINT_UNREACHABLE, text)
        case Outcome.TIMED_OUT:
            text = f"{answered}: {host} took no connection in time. Check that the endpoint is up, and the proxy's log."
            return Verdict(ErrorKind.ENDPOINT_TIMEOUT, text)
        case Outcome.FAILED:
            text = f"{answered} to CONNECT; nothing was sent to {host}. Check EGRESS_PROXY and the proxy's log."
            return Verdict(ErrorKind.EGRESS_PROXY, text)
