"""One exception per boundary, carrying what kind of failure it was."""

from typing import Literal

from syncsvc.error_kinds import POLICIES
from syncsvc.types import ErrorKind


class BoundaryError(Exception):
    """A failure of the world outside. The message is clean: no secret, fit for rows, logs and pages."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def permanent(self) -> bool:
        return POLICIES[self.kind].permanent


class GitError(BoundaryError):
    """git, or the remote behind it, did not do what was asked.

    `retry_after` is the number of seconds for which the remote asks to be left alone. `at_remote` says of git_corrupt
    that the remote's own repository is damaged, so that a new mirror would not help. `status` is the HTTP status that
    the remote answered with; None where it gave none.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retry_after: float | None = None,
        at_remote: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(kind, message)
        self.retry_after = retry_after
        self.at_remote = at_remote
        self.status = status

    def copy(self) -> "GitError":
        """A new exception of the same failure, for another run: a raised one keeps the frames it passed through."""
        return GitError(
            self.kind, str(self), retry_after=self.retry_after, at_remote=self.at_remote, status=self.status
        )


class TooLargeError(GitError):
    """The repository exceeds a limit; permanent, of the kind repository_too_large.

    `found` says what was met, with the number: "The repository has more than 2,000,000 files". `limit` is the name of
    the setting. `otherwise` is what else can be done: "follow a branch with fewer files". `said` are git's own words.
    """

    def __init__(self, found: str, *, limit: str, otherwise: str, said: str = "") -> None:
        text = f"{found} ({limit}). Raise {limit}, or {otherwise}."
        super().__init__(ErrorKind.REPOSITORY_TOO_LARGE, f"{text} git said: {said}" if said else text)
        self.limit = limit


class NotAskedError(GitError):
    """git was not started: the URL or the credential that is stored cannot be used."""


class DeliveryError(BoundaryError):
    """An endpoint did not take what was sent."""


class InvalidUrlError(ValueError):
    """A URL that is refused before anything is tried; the message says why and what to write instead."""


class InvalidCredentialError(ValueError):
    """A key or certificate that is refused before it is used; the message says why and what to give instead."""


class MirrorBusyError(Exception):
    """Another process fetches into this mirror, or replaces it; come back when it has finished."""


# For scripts: the exit of commands and the API's problems name it.
type RefusalKind = Literal["usage", "not_found", "conflict", "confirm", "paused", "invalid", "unavailable", "password"]


class Refused(Exception):
    """A request that cannot be carried out: a conflict, not found, wrong usage."""

    def __init__(self, kind: RefusalKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
