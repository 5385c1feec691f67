"""The circuits of remotes: a repository's own, and its host's, which is down for all of them at once."""

from django.conf import settings

from syncsvc.delivery.retry_policy import CircuitPolicy
from syncsvc.error_kinds import HOST_LIMITS, POLICIES, REMOTE_KINDS, UNREACHED_KINDS, Circuit
from syncsvc.exceptions import GitError, NotAskedError
from syncsvc.models import Repository, Subscription, Trigger
from syncsvc.store import remote_hosts
from syncsvc.store.remote_hosts import LeftAlone
from syncsvc.store.repository_circuits import count_failure
from syncsvc.sync.asking import ask_for_runs
from syncsvc.types import ErrorKind
from syncsvc.words import counted, span

# A host is down when so many of its repositories could not connect and none could between: one that is broken by itself
# stops no other.
REPOSITORIES_THAT_TELL = 3
# Cool-downs of a host before its subscriptions run, and say what is the matter: a short outage is no news.
OPENINGS_BEFORE_RUNS = 3
# A probe that dies with its worker is over after its time limit and so many seconds.
PROBE_MARGIN = 5


class GitCircuitOpenError(GitError):
    """git was not asked: the remote or its host failed too often in a row, or the host asked to be left alone.

    `retry_after` is what remains of that time; `failing_for` says for how long the host has failed. Both in seconds.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retry_after: float,
        failing_for: float = 0.0,
        host_is_quiet: bool = False,
    ) -> None:
        super().__init__(kind, message, retry_after=retry_after)
        self.failing_for = failing_for
        self.host_is_quiet = host_is_quiet


def remote_circuit_policy() -> CircuitPolicy:
    return CircuitPolicy(
        threshold=settings.CIRCUIT_THRESHOLD,
        cooldown=settings.GIT_CIRCUIT_COOLDOWN_SECONDS,
        cooldown_max=settings.GIT_CIRCUIT_COOLDOWN_MAX_SECONDS,
        fail_after=settings.CIRCUIT_FAIL_AFTER_SECONDS,
    )


def enter_host(repository: Repository) -> None:
    """Returns where the repository's host may be asked, as the probe of its circuit perhaps.

    GitCircuitOpenError where it is left alone.
    """
    state = remote_hosts.left_alone(repository.host) if repository.host else None
    if state is None:
        return
    probing_for = settings.GIT_LS_REMOTE_TIMEOUT + PROBE_MARGIN
    if state.remaining or not remote_hosts.take_probe(repository.host, seconds=probing_for):
        raise _host_left_alone(repository, state, state.remaining or probing_for)


def host_left_alone(repository: Repository) -> GitCircuitOpenError | None:
    """The error that `enter_host` would raise, without taking the probe; None where the host may be asked."""
    state = remote_hosts.left_alone(repository.host) if repository.host else None
    return _host_left_alone(repository, state, state.remaining) if state else None


def remote_answered(repository: Repository, *, limits: bool = False) -> None:
    """The host answers, whatever it says of this repository. What waited for it is due within seconds.

    `limits`: it only asks to be left alone.
    """
    if not repository.host:
        return
    until = remote_hosts.answered(repository.host, limits=limits)
    if until is not None:
        remote_hosts.make_polls_due(repository.host, until=until)
        waiting = Subscription.objects.filter(repository__host=repository.host)
        waiting.outage_ended(UNREACHED_KINDS)
        ask_for_runs(waiting.filter(status="failed", error_kind__in=UNREACHED_KINDS), Trigger.POLL)


def remote_failed(repository: Repository, error: GitError) -> None:
    """Counts what an `ls-remote` met, for the repository and for its host."""
    policy, wait = remote_circuit_policy(), wait_asked_for(error)
    if POLICIES[error.kind].counts_for(Circuit.REMOTE):
        count_failure(repository.id, kind=error.kind, error=str(error), policy=policy, wait=wait)
    host_failed(repository, error)


def host_failed(repository: Repository, error: GitError) -> None:
    """Counts what git met for the repository's host: a failure to connect, a wait it asks for, or an answer."""
    if not repository.host or error.kind not in REMOTE_KINDS:
        return
    wait = wait_asked_for(error)
    limits = wait is not None and asks_for_quiet(repository, error)
    if wait is not None and limits:
        remote_hosts.be_quiet(repository.host, wait)
    if isinstance(error, NotAskedError):
        remote_hosts.give_probe_back(repository.host)
    elif error.kind in UNREACHED_KINDS and wait is None and error.status is None:
        _count_for_host(repository, error, remote_circuit_policy())
    else:
        remote_answered(repository, limits=limits)


def host_was_not_asked(repository: Repository) -> None:
    """Frees the probe of the host's circuit, which was broken off before it could decide anything."""
    if repository.host:
        remote_hosts.give_probe_back(repository.host)


def _count_for_host(repository: Repository, error: GitError, policy: CircuitPolicy) -> None:
    opening = remote_hosts.count_failure(
        repository.host,
        repository.id,
        kind=error.kind,
        error=str(error),
        threshold=REPOSITORIES_THAT_TELL,
        first=policy.cooldown,
        most=policy.cooldown_max,
    )
    if opening.number >= OPENINGS_BEFORE_RUNS:
        unaware = Subscription.objects.filter(repository__host=repository.host, status="synced")
        ask_for_runs(unaware, Trigger.POLL)


def quiet_for(repository: Repository) -> float:
    """Seconds for which the repository's host has only asked to be left alone; 0 where it does not."""
    left_alone = host_left_alone(repository)
    return left_alone.failing_for if left_alone and left_alone.host_is_quiet else 0.0


def asks_for_quiet(repository: Repository, error: GitError) -> bool:
    """The host limits all that ask it."""
    return bool(repository.host) and error.retry_after is not None and error.status in HOST_LIMITS


def wait_asked_for(error: GitError) -> float | None:
    """Seconds for which the remote asked to be left alone, at most RETRY_AFTER_MAX_SECONDS."""
    return None if error.retry_after is None else min(error.retry_after, settings.RETRY_AFTER_MAX_SECONDS)


def repository_left_alone(repository: Repository, remaining: float) -> GitCircuitOpenError:
    """`remaining` is in seconds."""
    message = (
        f"The remote failed {counted(repository.failure_streak, 'time')} in a row and is left alone"
        f" for {span(remaining)}; a sync asks it at once. Its last error: {repository.last_error}"
    )
    kind = ErrorKind(repository.error_kind or ErrorKind.GIT_UNREACHABLE)
    return GitCircuitOpenError(kind, message, retry_after=remaining)


def _host_left_alone(repository: Repository, state: LeftAlone, remaining: float) -> GitCircuitOpenError:
    wait = span(remaining)
    if state.asked_for:
        message = f"The host {repository.host} asked to be left alone; it is asked again in {wait}."
    else:
        message = (
            f"The host {repository.host} cannot be reached: {state.repositories} of its repositories failed, and none"
            f" got through. It is left alone for {wait}, then one of them tries; a sync asks at once. The last error:"
            f" {state.error}"
        )
    kind = ErrorKind(state.error_kind or ErrorKind.GIT_UNREACHABLE)
    return GitCircuitOpenError(
        kind, message, retry_after=remaining, failing_for=state.failing_for, host_is_quiet=state.asked_for
    )
