"""The meaning of each error kind: one table, which every rule about kinds reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from syncsvc.types import ErrorKind


class Fault(Enum):
    """The side that repairs a failure."""

    ENDPOINT = auto()
    REMOTE = auto()
    WORKER = auto()
    SYNCSVC = auto()
    NOBODY = auto()


class Circuit(Enum):
    """The circuit that failures in a row open: an app's endpoint's, or a repository's remote's."""

    ENDPOINT = auto()
    REMOTE = auto()


@dataclass(frozen=True, slots=True)
class StatusRange:
    """HTTP statuses from `first` to `last`, both included. A narrower range wins over a wider one around it."""

    first: int
    last: int

    @classmethod
    def only(cls, status: int) -> Self:
        return cls(status, status)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy:
    """The meaning of one kind.

    `label` and `advice` (one sentence) are for operators. `statuses` are the HTTP statuses of an endpoint that lead to
    the kind, `remote_statuses` those of a git remote.
    `permanent`: quick retries are pointless, the subscription fails at once. `retries_itself`: a failed subscription
    gets slow tries; else it waits for an operator. `uses_up_try`: a run that ends so uses up one of the quick tries.
    `resent_in_run`: the message gets a second chance within the run. `stops_run`: the kind is about the endpoint as a
    whole, not about one message: the run sends nothing more. `honours_retry_after`: the next try waits as long as the
    endpoint asked. `circuit`: a failure counts for it; with `circuit_statuses` only an answer with one of these does.
    `pauses_app`: the app is paused. `told_to_app`: the app is sent `sync.failed`. `suspects_mirror`: a fetch that
    fails so may have met a damaged mirror, which is then replaced. `says_host_is_down`: there was no answer, so the
    remote's host may be down for all its repositories.
    """

    label: str
    advice: str
    fault: Fault
    statuses: tuple[StatusRange, ...] = ()
    remote_statuses: tuple[StatusRange, ...] = ()
    permanent: bool = False
    retries_itself: bool = True
    uses_up_try: bool = True
    resent_in_run: bool = False
    stops_run: bool = False
    honours_retry_after: bool = False
    circuit: Circuit | None = None
    circuit_statuses: tuple[int, ...] = ()
    pauses_app: bool = False
    told_to_app: bool = False
    suspects_mirror: bool = False
    says_host_is_down: bool = False

    def counts_for(self, circuit: Circuit, status: int | None = None) -> bool:
        """Whether a failure of this kind, with that HTTP status, counts for the circuit."""
        return self.circuit is circuit and (not self.circuit_statuses or status in self.circuit_statuses)


POLICIES: Mapping[ErrorKind, ErrorPolicy] = {
    ErrorKind.ENDPOINT_TIMEOUT: ErrorPolicy(
        label="Endpoint did not answer in time",
        advice="Let the endpoint answer first and do its work afterwards.",
        fault=Fault.ENDPOINT,
        statuses=(StatusRange.only(408),),
        resent_in_run=True,
        circuit=Circuit.ENDPOINT,
    ),
    ErrorKind.ENDPOINT_UNREACHABLE: ErrorPolicy(
        label="Endpoint cannot be reached",
        advice="Check that the endpoint is up, the webhook URL, DNS and firewalls.",
        fault=Fault.ENDPOINT,
        resent_in_run=True,
        circuit=Circuit.ENDPOINT,
    ),
    ErrorKind.ENDPOINT_TLS: ErrorPolicy(
        label="TLS with the endpoint failed",
        advice="Check the endpoint's certificate, its chain and its host name.",
        fault=Fault.ENDPOINT,
        resent_in_run=True,
        circuit=Circuit.ENDPOINT,
    ),
    ErrorKind.ENDPOINT_ERROR: ErrorPolicy(
        label="Endpoint had a server error",
        advice="Look at the endpoint's answer and its log.",
        fault=Fault.ENDPOINT,
        statuses=(StatusRange(500, 999),),
        resent_in_run=True,
        circuit=Circuit.ENDPOINT,
    ),
    ErrorKind.ENDPOINT_REJECTED: ErrorPolicy(
        label="Endpoint rejected the request",
        advice="Look at the endpoint's answer, and check the webhook URL and the app's secret.",
        fault=Fault.ENDPOINT,
        # Redirects are never followed. Below 200: what HTTP does not know as a final status.
        statuses=(StatusRange(300, 499), StatusRange(0, 199)),
    ),
    ErrorKind.ENDPOINT_THROTTLED: ErrorPolicy(
        label="Endpoint throttles or is unavailable",
        advice="If this stays, look whether the endpoint is up (503), or lower the app's in-flight limit (429).",
        fault=Fault.ENDPOINT,
        statuses=(StatusRange.only(429), StatusRange.only(503)),
        stops_run=True,
        uses_up_try=False,
        honours_retry_after=True,
        # A limit is no outage; "Service Unavailable" may be one.
        circuit=Circuit.ENDPOINT,
        circuit_statuses=(503,),
    ),
    ErrorKind.ENDPOINT_GONE: ErrorPolicy(
        label="Endpoint wants no more webhooks",
        advice="Set the app's new URL and resume the app, or delete it.",
        fault=Fault.ENDPOINT,
        statuses=(StatusRange.only(410),),
        permanent=True,
        stops_run=True,
        pauses_app=True,
    ),
    ErrorKind.ENDPOINT_FORBIDDEN_ADDRESS: ErrorPolicy(
        label="Endpoint's address is not allowed",
        advice="Change the webhook URL, or add the network to WEBHOOK_ALLOWED_NETWORKS.",
        fault=Fault.ENDPOINT,
        permanent=True,
        stops_run=True,
    ),
    ErrorKind.ENDPOINT_CIRCUIT_OPEN: ErrorPolicy(
        label="Endpoint's circuit is open",
        advice="Repair the endpoint and retry: a retry tries it at once.",
        fault=Fault.ENDPOINT,
        uses_up_try=False,
    ),
    ErrorKind.GIT_AUTH: ErrorPolicy(
        label="Remote refused the credential",
        advice="Give the repository a credential that may read it.",
        fault=Fault.REMOTE,
        remote_statuses=(StatusRange.only(401), StatusRange.only(403)),
        permanent=True,
        circuit=Circuit.REMOTE,
        told_to_app=True,
    ),
    ErrorKind.GIT_NOT_FOUND: ErrorPolicy(
        label="Repository or branch not found",
        advice="Check the repository's URL, its branch, and that its credential may read it.",
        fault=Fault.REMOTE,
        # A redirect that is not followed.
        remote_statuses=(StatusRange(300, 399), StatusRange.only(404), StatusRange.only(410)),
        permanent=True,
        circuit=Circuit.REMOTE,
        told_to_app=True,
    ),
    ErrorKind.GIT_FORBIDDEN_ADDRESS: ErrorPolicy(
        label="Remote's address is not allowed",
        advice="Change the repository's URL, or add its network to GIT_ALLOWED_NETWORKS or its port to"
        " GIT_ALLOWED_PORTS.",
        fault=Fault.REMOTE,
        permanent=True,
        circuit=Circuit.REMOTE,
        told_to_app=True,
    ),
    ErrorKind.GIT_UNREACHABLE: ErrorPolicy(
        label="Remote cannot be reached",
        advice="Check the repository's URL, and the network between worker and remote.",
        fault=Fault.REMOTE,
        remote_statuses=(StatusRange(0, 999),),
        circuit=Circuit.REMOTE,
        says_host_is_down=True,
        told_to_app=True,
    ),
    ErrorKind.GIT_TIMEOUT: ErrorPolicy(
        label="Remote took too long",
        advice="Check the remote, and raise GIT_TIMEOUT where the repository is that large.",
        fault=Fault.REMOTE,
        remote_statuses=(StatusRange.only(408), StatusRange.only(504)),
        circuit=Circuit.REMOTE,
        says_host_is_down=True,
        told_to_app=True,
    ),
    ErrorKind.GIT_CORRUPT: ErrorPolicy(
        label="Git objects are missing or damaged",
        advice="The next run rebuilds the mirror; if this stays, check the remote with git fsck.",
        fault=Fault.REMOTE,
        circuit=Circuit.REMOTE,
        told_to_app=True,
        suspects_mirror=True,
    ),
    ErrorKind.REPOSITORY_TOO_LARGE: ErrorPolicy(
        label="Repository exceeds a limit",
        advice="Make the repository smaller, or raise the limit that the error names.",
        fault=Fault.REMOTE,
        permanent=True,
        circuit=Circuit.REMOTE,
        told_to_app=True,
    ),
    ErrorKind.MASS_DELETE_HELD: ErrorPolicy(
        label="Deletes wait for approval",
        advice="Look at the files, then allow the deletes or correct the repository.",
        fault=Fault.NOBODY,
        permanent=True,
        retries_itself=False,
        told_to_app=True,
    ),
    ErrorKind.WORKER_DISK: ErrorPolicy(
        label="Worker cannot write to its disk",
        advice="Free space on the worker, or make its folders writable; another worker takes the run meanwhile.",
        fault=Fault.WORKER,
        uses_up_try=False,
    ),
    ErrorKind.EGRESS_PROXY: ErrorPolicy(
        label="Egress proxy failed",
        advice="Check that the proxy of EGRESS_PROXY runs, and the user name and password in that setting.",
        fault=Fault.WORKER,
        stops_run=True,
    ),
    ErrorKind.INTERNAL: ErrorPolicy(
        label="Internal error",
        advice="Read the traceback on the run's page and report it.",
        fault=Fault.SYNCSVC,
        # Of git's own failures only: an endpoint's answer never has this kind.
        circuit=Circuit.REMOTE,
        suspects_mirror=True,
    ),
}

# Failures that are shown under the repository's host; all others are shown under the endpoint's.
REMOTE_KINDS = tuple(kind for kind, policy in POLICIES.items() if policy.fault is Fault.REMOTE)

# Failures of an endpoint: at another URL they may be over.
ENDPOINT_KINDS = tuple(kind for kind, policy in POLICIES.items() if policy.fault is Fault.ENDPOINT)

# Failures without an answer; any other kind says that the remote's host is there.
UNREACHED_KINDS = tuple(kind for kind, policy in POLICIES.items() if policy.says_host_is_down)

# Back-offs after these kinds end with the endpoint's outage; a rejected request is no outage.
OUTAGE_KINDS = (
    ErrorKind.ENDPOINT_CIRCUIT_OPEN,
    *(kind for kind, policy in POLICIES.items() if policy.circuit is Circuit.ENDPOINT),
)

# Statuses by which a remote's host limits all requests to it; any other status is about one repository.
HOST_LIMITS = (429, 503)


def _kinds_by_status(ranges_of: Callable[[ErrorPolicy], Iterable[StatusRange]]) -> dict[int, ErrorKind]:
    ranges = [(statuses, kind) for kind, policy in POLICIES.items() for statuses in ranges_of(policy)]
    found: dict[int, ErrorKind] = {}
    for statuses, kind in sorted(ranges, key=lambda pair: len(pair[0]), reverse=True):
        found |= dict.fromkeys(statuses, kind)
    return found


_KINDS_BY_STATUS = _kinds_by_status(lambda policy: policy.statuses)
_KINDS_BY_REMOTE_STATUS = _kinds_by_status(lambda policy: policy.remote_statuses)


def kind_of_status(status: int) -> ErrorKind | None:
    """The kind that an endpoint's final HTTP status leads to; None for 2xx, which acknowledges."""
    return _KINDS_BY_STATUS.get(status)


def kind_of_remote_status(status: int) -> ErrorKind:
    """The kind that a git remote's failing HTTP status, of three digits, leads to."""
    return _KINDS_BY_REMOTE_STATUS[status]
