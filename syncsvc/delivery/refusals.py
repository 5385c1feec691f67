"""Statuses that refuse a webhook, in words: what the endpoint said, and what to do."""

import re
from http import HTTPStatus
from typing import NamedTuple

from syncsvc.types import ErrorKind

CLOCK_MINUTES = 5  # Standard Webhooks 1.0.0: receivers refuse timestamps that are further from their own clock


class Told(NamedTuple):
    """Words of an answer that say more than its status: what a server in front of the endpoint writes."""

    words: re.Pattern[bytes]
    advice: str


TOLD = (
    Told(
        # nginx, Cloudflare and the like ("400 No required SSL certificate was sent"); IIS ("403.7").
        re.compile(
            rb"no required ssl certificate|client certificate (is )?required|requires a client certificate", re.I
        ),
        "It wants a client certificate, and syncsvc sends none: let it take webhooks without one, they are signed.",
    ),
    Told(
        # nginx, Go, Apache.
        re.compile(
            rb"plain http request was sent to https port|http request to an https server|speaking plain http to an ssl",
            re.I,
        ),
        "Its port speaks TLS: write https:// in the app's webhook URL.",
    ),
)


def refusal(kind: ErrorKind, status: int, body: bytes) -> str:
    """What it means that an endpoint answered with `status`, which led to `kind`; `body` is the answer's beginning."""
    answered = f"The endpoint answered {status_name(status)}"
    for told in TOLD:
        if 400 <= status < 500 and told.words.search(body):
            return f"{answered}. {told.advice}"
    match kind:
        case ErrorKind.ENDPOINT_GONE:
            return f"{answered}: it wants no more webhooks. Set the app's new URL, or delete the app."
        case ErrorKind.ENDPOINT_TIMEOUT:
            return f"{answered}: it did not read the webhook in time. Look at what stands in front of it."
        case ErrorKind.ENDPOINT_THROTTLED:
            return f"{answered}: {_wait(status)}"
        case ErrorKind.ENDPOINT_ERROR:
            return f"The endpoint failed with {status_name(status)}. {_repair(status)}"
        case _:
            return f"{answered}. {_advice(status)}"


def _wait(status: int) -> str:
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "it is unavailable just now. If this stays, look at whether it is being started, or has too much to do."
    return "it wants fewer requests. If this stays, lower the app's in-flight limit or set its requests a second."


def _repair(status: int) -> str:
    if status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}:
        return "A proxy in front of it got no answer from the endpoint itself: look at both logs."
    return "Look at its answer and its log."


def _advice(status: int) -> str:
    if status < 200:
        return "That is no answer to a webhook. Check the app's webhook URL, and answer with a status of 200 to 299."
    if status < 400:
        return "Redirects are not followed: set the app's webhook URL to the address that it leads to."
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return (
                "Compare the secret that it verifies with against this app's, and its clock with the right time:"
                f" a receiver refuses timestamps that are over {CLOCK_MINUTES} minutes from its own clock."
            )
        case HTTPStatus.FORBIDDEN:
            return "Check that it verifies with this app's secret, and that nothing in front of it refuses syncsvc."
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            return "Check the app's webhook URL: it must take POST."
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "Let it take larger bodies, or lower CONTENT_CHUNK_BYTES."
        case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return "A proxy in front of it wants a login: let it pass webhooks without one, they are signed."
        case HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            return "Let it take Content-Type: application/json."
        case HTTPStatus.MISDIRECTED_REQUEST:
            return "Its server does not know the host name of the app's webhook URL."
        case _:
            return "Look at its answer and its log for why it refused."


def status_name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
