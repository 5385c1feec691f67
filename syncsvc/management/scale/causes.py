"""What goes wrong in the invented rows: the kinds, an answer's status, and the words that people read."""

from typing import NamedTuple

from syncsvc.error_kinds import POLICIES, REMOTE_KINDS, Fault
from syncsvc.types import ErrorKind


class Cause(NamedTuple):
    """`status` is None where no answer came; `weight` is how often it is met."""

    kind: ErrorKind
    status: int | None
    text: str
    weight: int


CAUSES = (
    Cause(
        ErrorKind.ENDPOINT_ERROR,
        500,
        "The endpoint failed with 500 Internal Server Error. Look at its answer and its log.",
        6,
    ),
    Cause(
        ErrorKind.ENDPOINT_TIMEOUT,
        None,
        "The endpoint did not answer within 15 s. Look at what stands in front of it.",
        5,
    ),
    Cause(
        ErrorKind.ENDPOINT_UNREACHABLE,
        None,
        "The connection was refused. Check the webhook URL, and that the endpoint listens.",
        4,
    ),
    Cause(
        ErrorKind.ENDPOINT_REJECTED,
        422,
        "The endpoint answered 422 Unprocessable Entity. Look at its answer: it did not accept the webhook.",
        3,
    ),
    Cause(
        ErrorKind.ENDPOINT_THROTTLED,
        429,
        "The endpoint answered 429 Too Many Requests: it wants fewer requests.",
        2,
    ),
    Cause(ErrorKind.ENDPOINT_TLS, None, "The certificate has expired. Renew the endpoint's certificate.", 2),
    Cause(
        ErrorKind.ENDPOINT_CIRCUIT_OPEN, None, "The endpoint's circuit is open; it is tried when the cool-down ends.", 1
    ),
    Cause(
        ErrorKind.ENDPOINT_GONE,
        410,
        "The endpoint answered 410 Gone: it wants no more webhooks. Set the app's new URL, or delete the app.",
        1,
    ),
    Cause(
        ErrorKind.MASS_DELETE_HELD,
        None,
        "The run would delete 412 of 500 files that the app has. Nothing was sent; allow it if that is right.",
        1,
    ),
    Cause(ErrorKind.INTERNAL, None, "A bug: KeyError. The run's page has the traceback.", 1),
    Cause(
        ErrorKind.GIT_AUTH,
        None,
        "The remote refused the credential, or needs one; give one that may read this repository.",
        0,
    ),
    Cause(
        ErrorKind.GIT_NOT_FOUND,
        None,
        "The remote has no such repository, or hides it from this credential; check the URL.",
        0,
    ),
    Cause(ErrorKind.GIT_TIMEOUT, None, "The remote took too long; it is tried again by itself.", 0),
    Cause(
        ErrorKind.GIT_UNREACHABLE,
        None,
        "The remote cannot be reached; it is tried again by itself. Check URL and network.",
        0,
    ),
)

# Each as often as its weight, so that one of them at random is a likely one.
OF_ENDPOINTS = [cause.kind.value for cause in CAUSES for _ in range(cause.weight)]
RETRIED = [kind for kind in OF_ENDPOINTS if not POLICIES[ErrorKind(kind)].permanent]
# Runs that end so have sent nothing.
UNSENT = [
    kind.value
    for kind, policy in POLICIES.items()
    if policy.fault is not Fault.ENDPOINT or kind is ErrorKind.ENDPOINT_CIRCUIT_OPEN
]
OF_GIT = [cause.kind.value for cause in CAUSES if cause.kind in REMOTE_KINDS]
