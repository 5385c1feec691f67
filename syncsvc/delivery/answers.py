"""What an endpoint's answer, or its silence, means."""

import re
from functools import lru_cache
from typing import NamedTuple

import pycurl

from syncsvc.delivery import tls
from syncsvc.delivery.refusals import refusal, status_name
from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.error_kinds import POLICIES, Circuit, kind_of_status
from syncsvc.types import ErrorKind


class Request[Tag](NamedTuple):
    """One webhook to send: `headers` are whole lines, `timeout` is in seconds, `tag` is the sender's own.

    `fresh`: over a new connection, to the address that the name has now.
    """

    webhook_id: str
    url: str
    headers: list[bytes]
    body: bytes
    timeout: float
    tag: Tag
    fresh: bool = False


class Answer[Tag](NamedTuple):
    """`error_kind` is None where the endpoint acknowledged. `body` is the answer's beginning, `seconds` its time.

    `earlier`: the times that the request was sent before, over kept-alive connections that died without an answer.
    """

    request: Request[Tag]
    status: int | None
    error_kind: ErrorKind | None
    error: str
    body: bytes
    seconds: float
    retry_after: float | None
    earlier: "tuple[Answer[Tag], ...]" = ()


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


AUTHORITY = re.compile(r"(?:[^/?#]*//)?([^/?#]*).*", re.DOTALL)


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
    return verdict_on_answer(status, b"")


def verdict_on_answer(status: int, body: bytes) -> Verdict:
    """What a whole answer means; `body` is its beginning."""
    kind = kind_of_status(status)
    return ACKNOWLEDGED if kind is None else Verdict(kind, refusal(kind, status, body))


def verdict_on_unfinished[Tag](status: int, message: str, request: Request[Tag], *, timed_out: bool) -> Verdict:
    """What it means that a status came, and the answer did not end; `message` is libcurl's.

    A status that refuses is believed. One that accepts is not: many frameworks send it before the handler has ended,
    and can say by breaking off alone that it failed then (RFC 9112, section 8). Senders differ here: Svix goes by the
    status, Convoy by the whole answer. A repeat has the same webhook id and does no harm; a loss would.
    """
    refused = verdict_on_status(status)
    if refused.kind is not None:
        return refused
    answered = f"The endpoint answered {status_name(status)}, but its answer did not end"
    if timed_out:
        return Verdict(
            ErrorKind.ENDPOINT_TIMEOUT,
            f"{answered} within {request.timeout:g} s: only a whole answer acknowledges."
            " Let it end its answer (Content-Length, or the last chunk) and do the work afterwards.",
        )
    return Verdict(
        ErrorKind.ENDPOINT_UNREACHABLE,
        f"{answered}: {host_of(request.url)} ended the connection before ({_clean(message)}), and only a whole answer"
        " acknowledges. Look at its log and at what stands in front of it.",
    )


def verdict_on_timeout[Tag](request: Request[Tag], *, connected: bool) -> Verdict:
    """`connected` says whether the request could leave."""
    host = host_of(request.url)
    text = (
        f"No whole answer from {host} within {request.timeout:g} s. Let it answer first and do the work afterwards."
        if connected
        else f"No connection to {host} in time. Check that it is up, its port, and that no firewall drops the request."
    )
    return Verdict(ErrorKind.ENDPOINT_TIMEOUT, text)


def verdict_on_failure[Tag](
    code: int, message: str, request: Request[Tag], terms: TlsTerms | None = None, *, is_new: bool = False
) -> Verdict:
    """What libcurl's error `code` means, timeouts apart.

    `terms` are the app's own for TLS; `is_new`: the connection was opened for this request.
    """
    host = host_of(request.url)
    certified = terms is not None and terms.sends_certificate
    if code in TLS_ERRORS or tls.wants_certificate(message) or (certified and tls.lacks_key(message)):
        text = (
            f"TLS with {host} failed: {_clean(tls.reason(message))}. {tls.advice(message, sends_certificate=certified)}"
        )
        return Verdict(ErrorKind.ENDPOINT_TLS, text)
    was_reset = code in BROKEN_OFF and (code == pycurl.E_SEND_ERROR or "reset" in message)
    if certified and is_new and was_reset:
        return Verdict(ErrorKind.ENDPOINT_TLS, f"{host} ended a new connection after the handshake. {tls.BROKEN_OFF}")
    if code in NOT_HTTP:
        text = f"What {host} answered is not HTTP. Check the webhook URL's scheme and port."
        return Verdict(ErrorKind.ENDPOINT_ERROR, text)
    text = _unreachable(code, message, request, hints=was_reset and not certified)
    return Verdict(ErrorKind.ENDPOINT_UNREACHABLE, text)


def connection_lost[Tag](request: Request[Tag], seconds: float) -> Answer[Tag]:
    """The request was sent over a kept-alive connection that died `seconds` later, before an answer."""
    host = host_of(request.url)
    text = f"{host} ended the kept-alive connection before an answer. The request was sent again at once."
    return Answer(request, None, ErrorKind.ENDPOINT_UNREACHABLE, text, b"", seconds, None)


def forbidden(text: str) -> Verdict:
    return Verdict(ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS, text)


def _unreachable[Tag](code: int, message: str, request: Request[Tag], *, hints: bool) -> str:
    host = host_of(request.url)
    if code == pycurl.E_COULDNT_RESOLVE_HOST:
        return f"The host name {host} cannot be resolved. Check the webhook URL and the name's DNS."
    if code == pycurl.E_COULDNT_CONNECT:
        return f"Nothing accepts connections at {host}. Check that the endpoint runs, and its port."
    if code in BROKEN_OFF:
        # With TLS 1.3 a server may want a certificate after the handshake, and its reset overtake the alert.
        hint = " It may want a client certificate; syncsvc sends none to this app, webhooks are signed."
        return (
            f"{host} ended the connection before a whole answer. Look at its log and at what stands in front of it."
            f"{hint if hints and request.url.startswith('https:') else ''}"
        )
    return f"The request to {host} failed: {_clean(message)}. Check the webhook URL and the endpoint."


def host_of(url: str) -> str:
    """Host and port: the rest of a URL may hold a token. Also of a URL that no parser takes."""
    return _clean(AUTHORITY.sub(r"\1", url).rpartition("@")[2])


def _clean(message: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in message[:200]).rstrip(". ")
