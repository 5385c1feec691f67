"""One easy handle of libcurl's, and the request that it carries just now."""

import socket
import ssl
from collections.abc import Iterable

import certifi
import pycurl

from syncsvc.delivery.addresses import AddressPolicy
from syncsvc.delivery.answers import Request, Verdict, forbidden, verdict_on_failure, verdict_on_timeout

ANSWER_BYTES = 4096
DNS_CACHE_SECONDS = 30
# "Expect:" keeps libcurl from asking for 100-continue before a large body: that costs a round trip.
CONSTANT_HEADERS = [b"Content-Type: application/json", b"Expect:"]


class Slot[Tag]:
    """An easy handle that is used again and again: what does not change is set once."""

    __slots__ = ("_addresses", "_timeout", "_url", "body", "cut_off", "easy", "refused_address", "request", "tried")
    request: Request[Tag]
    body: bytes
    cut_off: bool
    refused_address: str
    tried: bool

    def __init__(self, addresses: AddressPolicy, *, connect_timeout: float, user_agent: str, ca_file: str) -> None:
        self._addresses = addresses
        self._url = ""
        self._timeout = 0.0
        self.easy = pycurl.Curl()
        for option, value in _constant_options():
            self.easy.setopt(option, value)
        self.easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(connect_timeout * 1000)))
        self.easy.setopt(pycurl.USERAGENT, user_agent)
        self.easy.setopt(pycurl.CAINFO, ca_file)
        self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._write)

    def prepare(self, request: Request[Tag]) -> None:
        easy = self.easy
        if request.url != self._url:
            easy.setopt(pycurl.URL, request.url)
            self._url = request.url
        if request.timeout != self._timeout:
            easy.setopt(pycurl.TIMEOUT_MS, max(1, int(request.timeout * 1000)))
            self._timeout = request.timeout
        easy.setopt(pycurl.HTTPHEADER, [*CONSTANT_HEADERS, *request.headers])
        easy.setopt(pycurl.POSTFIELDS, request.body)
        self.request = request
        self.body = b""
        self.cut_off = False
        self.refused_address = ""
        self.tried = False

    def verdict(self, code: int, message: str) -> Verdict:
        if self.refused_address and not self.tried:
            return forbidden(self.refused_address, self.request)
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return verdict_on_timeout(self.request, connected=self.easy.getinfo(pycurl.REQUEST_SIZE) > 0)
        return verdict_on_failure(code, message, self.request)

    def _open_socket(self, purpose: int, target: tuple[int, int, int, tuple[str, int]]) -> socket.socket | int:
        family, kind, protocol, address = target
        host = str(address[0])
        if family not in {socket.AF_INET, socket.AF_INET6} or not self._addresses.permits(host):
            self.refused_address = host
            refused: int = pycurl.SOCKET_BAD
            return refused
        self.tried = True
        return _Socket(family, kind, protocol)

    def _write(self, data: bytes) -> int:
        """Keeps the answer's beginning; a count that is not `len(data)` makes libcurl close the connection."""
        room = ANSWER_BYTES - len(self.body)
        self.body += data[:room]
        self.cut_off = len(data) > room
        return min(room, len(data))


class _Socket(socket.socket):
    """pycurl duplicates the descriptor and drops this object, which must then close without a ResourceWarning."""

    def __del__(self) -> None:
        self.close()


def _constant_options() -> Iterable[tuple[int, object]]:
    return (
        (pycurl.POST, 1),
        (pycurl.NOSIGNAL, 1),
        (pycurl.FOLLOWLOCATION, 0),
        # Empty keeps libcurl from reading http_proxy: the check at the socket must see the endpoint's own address.
        (pycurl.PROXY, ""),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        (pycurl.SSL_VERIFYPEER, 1),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.TCP_NODELAY, 1),
        (pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS),
    )


def trusted_authorities() -> str:
    """The system's bundle (or SSL_CERT_FILE's), else certifi's: the one built into pycurl's wheel is Red Hat's path."""
    return ssl.get_default_verify_paths().cafile or certifi.where()
