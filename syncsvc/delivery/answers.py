"""What an endpoint's answer, or its silence, means."""

from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import pycurl

from syncsvc.error_kinds import POLICIES, Circuit, kind_of_status
from syncsvc.types import ErrorKind


class Request[Tag](NamedTuple):
    """One webhook to send: `headers` are whole lines, `timeout` is in seconds, `tag` is the sender's own."""

    webhook_id: str
    url: str
    headers: list[bytes]
    body: bytes
    timeout: float
    tag: Tag


class Answer[Tag](NamedTuple):
    """`error_kind` is None where the endpoint acknowledged. `body` is the answer's beginning, `seconds` its time."""

    request: Request[Tag]
    status: int | None
    error_kind: ErrorKind | None
    error: str
    body: bytes
    seconds: float
    retry_after: float | None


class Verdict(NamedTuple):
    kind: ErrorKind | None
    error: str


ACKNOWLEDGED = Verdict(None, "")
TLS_ERRORS = {
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_CERTPROBLEM,
    pycurl.E_SSL_CIPHER,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_SSL_CRL_BADFILE,
    pycurl.E_SSL_ENGINE_INITFAILED,
    pycurl.E_SSL_ENGINE_NOTFOUND,
    pycurl.E_SSL_ENGINE_SETFAILED,
    pycurl.E_SSL_INVALIDCERTSTATUS,
    pycurl.E_SSL_ISSUER_ERROR,
    pycurl.E_SSL_PINNEDPUBKEYNOTMATCH,
    pycurl.E_SSL_SHUTDOWN_FAILED,
}
E_HTTP2_STREAM = 92  # pycurl has no name for it
BROKEN_OFF = {
    pycurl.E_GOT_NOTHING,
    pycurl.E_HTTP2,
    E_HTTP2_STREAM,
    pycurl.E_PARTIAL_FILE,
    pycurl.E_RECV_ERROR,
    pycurl.E_SEND_ERROR,
}
# HTTP/0.9, a status line that is none, headers without end.
NOT_HTTP = {pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY}


def counts_for_circuit[Tag](answer: Answer[Tag]) -> bool:
    """True where the answer counts for the endpoint's circuit; any other answer resets the count."""
    if answer.error_kind is None:
        return False
    return POLICIES[answer.error_kind].counts_for(Circuit.ENDPOINT, answer.status)


def honours_retry_after(status: int) -> bool:
    """True where the answer's Retry-After says when the next request may come."""
    kind = kind_of_status(status)
    return kind is not None and POLICIES[kind].honours_retry_after


def refuses_content(status: int) -> bool:
    """True for errors that may be due to what was sent: of a batch, its files are worth a request each."""
    kind = kind_of_status(status)
    return status >= 400 and kind is not None and not POLICIES[kind].stops_run


@lru_cache(maxsize=1024)
def verdict_on_status(status: int) -> Verdict:
    kind = kind_of_status(status)
    return ACKNOWLEDGED if kind is None else Verdict(kind, _refusal(kind, status))


def _refusal(kind: ErrorKind, status: int) -> str:
    answered = f"The endpoint answered {_status_name(status)}"
    match kind:
        case ErrorKind.ENDPOINT_GONE:
            return f"{answered}: it wants no more webhooks. Set the app's new URL, or delete the app."
        case ErrorKind.ENDPOINT_TIMEOUT:
            return f"{answered}: it did not read the webhook in time. Look at what stands in front of it."
        case ErrorKind.ENDPOINT_THROTTLED:
            return f"{answered}: fewer requests, please. If this stays, lower the app's in-flight limit."
        case ErrorKind.ENDPOINT_ERROR:
            return f"The endpoint failed with {_status_name(status)}. Look at its answer and its log."
        case _:
            return f"{answered}. {_advice(status)}"


def _advice(status: int) -> str:
    if 300 <= status < 400:
        return "Redirects are not followed: set the app's webhook URL to the address that it leads to."
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "Check that it verifies signatures with this app's secret."
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return "Check the app's webhook URL: it must take POST."
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "Let it take larger bodies, or lower CONTENT_CHUNK_BYTES."
    return "Look at its answer and its log for why it refused."


def _status_name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def verdict_on_timeout[Tag](request: Request[Tag], *, connected: bool) -> Verdict:
    """`connected` says whether the request could leave."""
    host = _host(request.url)
    text = (
        f"No whole answer from {host} within {request.timeout:g} s. Let it answer first and do the work afterwards."
        if connected
        else f"No connection to {host} in time. Check that it is up, its port, and that no firewall drops the request."
    )
    return Verdict(ErrorKind.ENDPOINT_TIMEOUT, text)


def verdict_on_failure[Tag](code: int, message: str, request: Request[Tag]) -> Verdict:
    """What libcurl's error `code` means, timeouts apart."""
    host = _host(request.url)
    if code in TLS_ERRORS:
        text = f"TLS with {host} failed: {_clean(message)}. Check the certificate, its chain and its host name."
        return Verdict(ErrorKind.ENDPOINT_TLS, text)
    if code in NOT_HTTP:
        text = f"What {host} answered is not HTTP. Check the webhook URL's scheme and port."
        return Verdict(ErrorKind.ENDPOINT_ERROR, text)
    return Verdict(ErrorKind.ENDPOINT_UNREACHABLE, _unreachable(code, message, host))


def forbidden[Tag](address: str, request: Request[Tag]) -> Verdict:
    return Verdict(
        ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS,
        f"{_host(request.url)} leads to {address}, which is not a public address."
        " Change the webhook URL, or add the network to WEBHOOK_ALLOWED_NETWORKS.",
    )


def _unreachable(code: int, message: str, host: str) -> str:
    if code == pycurl.E_COULDNT_RESOLVE_HOST:
        return f"The host name {host} cannot be resolved. Check the webhook URL and the name's DNS."
    if code == pycurl.E_COULDNT_CONNECT:
        return f"Nothing accepts connections at {host}. Check that the endpoint runs, and its port."
    if code in BROKEN_OFF:
        return f"{host} ended the connection before a whole answer. Look at its log and at what stands in front of it."
    return f"The request to {host} failed: {_clean(message)}. Check the webhook URL and the endpoint."


def _host(url: str) -> str:
    """Host and port: the rest of a URL may hold a token."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _clean(message: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in message[:200]).rstrip(". ")
