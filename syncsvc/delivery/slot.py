"""One easy handle of libcurl's, and the request that it carries just now."""

import socket
from collections.abc import Iterable
from itertools import pairwise
from time import monotonic
from typing import Any

import pycurl

from syncsvc.delivery.answers import (
    NOT_HTTP,
    Answer,
    Request,
    Verdict,
    connection_lost,
    forbidden,
    host_of,
    verdict_on_failure,
    verdict_on_timeout,
    verdict_on_unfinished,
)
from syncsvc.delivery.sockets import Sockets
from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.delivery.tunnel import Tunnel
from syncsvc.egress.addresses import AddressPolicy, not_public

# An answer's beginning is kept. The rest is read and dropped, so that the next request can have the connection; where
# the rest is too long, a new connection costs less.
ANSWER_BYTES = 4096
READ_BYTES = 64 * 1024
DNS_CACHE_SECONDS = 30
# "Expect:" keeps libcurl from asking for 100-continue before a large body: that costs a round trip.
CONSTANT_HEADERS = [b"Content-Type: application/json", b"Expect:"]


class Slot[Tag]:
    """An easy handle that is used again and again: what does not change is set once."""

    __slots__ = (
        *("_addresses", "_doomed", "_fresh", "_opened", "_read", "_sent_at", "_timeout", "_tunnel", "_url"),
        *("_wants_login", "body", "cut_off", "easy", "refused", "request", "sockets", "tls", "tried"),
    )
    request: Request[Tag]
    body: bytes
    cut_off: bool
    refused: str
    tried: bool
    _read: int
    _sent_at: list[float]
    _doomed: bool

    def __init__(
        self,
        addresses: AddressPolicy,
        *,
        connect_timeout: float,
        user_agent: str,
        ca_file: str,
        tunnel: Tunnel | None = None,
        tls: TlsTerms | None = None,
    ) -> None:
        self._addresses = addresses
        self._tunnel = tunnel
        self.tls = tls
        self._url = ""
        self._timeout = 0.0
        self._fresh = False
        self._opened: list[int] = []
        self.sockets = Sockets()
        self.easy = pycurl.Curl()
        for option, value in _constant_options():
            self.easy.setopt(option, value)
        self.easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(connect_timeout * 1000)))
        self.easy.setopt(pycurl.USERAGENT, user_agent)
        self.easy.setopt(pycurl.CAINFO, ca_file)
        if tls is not None:
            tls.apply(self.easy, ca_file=ca_file)
        self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.easy.setopt(pycurl.SOCKOPTFUNCTION, self._has_opened)
        self.easy.setopt(pycurl.PREREQFUNCTION, self._about_to_send)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._write)
        if tunnel:
            for option, value in tunnel.options():
                self.easy.setopt(option, value)
            self.easy.setopt(pycurl.HEADERFUNCTION, self._read_header)

    def prepare(self, request: Request[Tag]) -> None:
        easy = self.easy
        if request.url != self._url:
            easy.setopt(pycurl.URL, request.url)
            self._url = request.url
        if request.timeout != self._timeout:
            easy.setopt(pycurl.TIMEOUT_MS, max(1, int(request.timeout * 1000)))
            self._timeout = request.timeout
        if request.fresh is not self._fresh:
            easy.setopt(pycurl.FRESH_CONNECT, int(request.fresh))
            self._fresh = request.fresh
        easy.setopt(pycurl.HTTPHEADER, [*CONSTANT_HEADERS, *request.headers])
        easy.setopt(pycurl.POSTFIELDS, request.body)
        self.request = request
        self.body = b""
        self.cut_off = False
        self.refused = ""
        self._wants_login = False
        self.tried = False
        self._read = 0
        self._sent_at = []
        self._doomed = False
        self._opened.clear()

    def verdict(self, status: int, code: int, message: str) -> Verdict:
        """Says what it means that no whole answer came; `status` is 0 where not even a status line did."""
        if self.refused and not self.tried:
            return forbidden(self.refused)
        timed_out = code == pycurl.E_OPERATION_TIMEDOUT
        if self._tunnel and (verdict := self._verdict_on_tunnel(self._tunnel, code)):
            return verdict
        if status >= 200 and code not in NOT_HTTP:
            return verdict_on_unfinished(status, message, self.request, timed_out=timed_out)
        if timed_out:
            return verdict_on_timeout(self.request, connected=bool(self._sent_at))
        is_new = self.easy.getinfo(pycurl.NUM_CONNECTS) > 0
        return verdict_on_failure(code, message, self.request, self.tls, is_new=is_new)

    def _verdict_on_tunnel(self, tunnel: Tunnel, code: int) -> Verdict | None:
        """None where the request had its tunnel when it failed."""
        timed_out = code == pycurl.E_OPERATION_TIMEDOUT
        no_proxy_found = code == pycurl.E_COULDNT_RESOLVE_PROXY or (timed_out and not self._sent_at)
        if not self._opened and not no_proxy_found:
            return None
        return tunnel.verdict(
            self.easy.getinfo(pycurl.HTTP_CONNECTCODE),
            host=host_of(self.request.url),
            wants_login=self._wants_login,
            timed_out=timed_out,
            connected=self.easy.getinfo(pycurl.CONNECT_TIME) > 0,
        )

    def earlier(self) -> tuple[Answer[Tag], ...]:
        """The times that this request was sent before the last, over kept-alive connections that died."""
        if len(self._sent_at) < 2:
            return ()
        return tuple(connection_lost(self.request, after - before) for before, after in pairwise(self._sent_at))

    def _about_to_send(self, *ends: Any) -> int:
        """Notes each time that libcurl begins to send the request.

        libcurl sends a request again by itself (lib/transfer.c, Curl_retry_request) where a kept-alive connection dies
        before the first byte of an answer. The endpoint may have read it all by then, and acted on it; but not where
        it had closed the connection before: that time does not count.
        """
        if self._doomed:
            self._sent_at.pop()
        if self._opened:
            self.sockets.connected(ends, self._opened)
            self._opened.clear()
            self._doomed = False
        else:
            self._doomed = self.sockets.has_ended(ends)
        self._sent_at.append(monotonic())
        go_on: int = pycurl.PREREQFUNC_OK
        return go_on

    def _has_opened(self, descriptor: int, purpose: int) -> int:
        self._opened.append(descriptor)
        go_on: int = pycurl.SOCKOPT_OK
        return go_on

    def _open_socket(self, purpose: int, target: tuple[int, int, int, tuple[str, int]]) -> socket.socket | int:
        family, kind, protocol, address = target
        if refusal := self._refusal(family, str(address[0])):
            self.refused = refusal
            refused: int = pycurl.SOCKET_BAD
            return refused
        self.tried = True
        return _Socket(family, kind, protocol)

    def _refusal(self, family: int, address: str) -> str:
        """Why no connection is made; `address` is the endpoint's, or the proxy's, which is taken as it is."""
        if self._tunnel:
            return self._tunnel.refusal(self.request.url)
        if family in {socket.AF_INET, socket.AF_INET6} and self._addresses.permits(address):
            return ""
        return not_public(host_of(self.request.url), "WEBHOOK_ALLOWED_NETWORKS")

    def _read_header(self, line: bytes) -> None:
        """Looks at the headers of the proxy's answer, which come before the endpoint's."""
        if not self._sent_at and line.lower().startswith(b"proxy-authenticate:"):
            self._wants_login = True

    def _write(self, data: bytes) -> int:
        """Keeps the answer's beginning; a count that is not `len(data)` makes libcurl close the connection."""
        self.body += data[: ANSWER_BYTES - len(self.body)]
        self._read += len(data)
        self.cut_off = self._read > READ_BYTES
        return 0 if self.cut_off else len(data)


class _Socket(socket.socket):
    """pycurl duplicates the descriptor and drops this object, which must then close without a ResourceWarning."""

    def __del__(self) -> None:
        self.close()


def _constant_options() -> Iterable[tuple[int, object]]:
    return (
        (pycurl.POST, 1),
        (pycurl.NOSIGNAL, 1),
        (pycurl.FOLLOWLOCATION, 0),
        # The headers of a request are none of the proxy's.
        (pycurl.HEADEROPT, pycurl.HEADER_SEPARATE),
        # Empty keeps libcurl from reading http_proxy: the check at the socket must see the endpoint's own address.
        (pycurl.PROXY, ""),
        # Empty keeps it from reading no_proxy, which would lead past the proxy that is set.
        (pycurl.NOPROXY, ""),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.TCP_NODELAY, 1),
        (pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS),
    )
