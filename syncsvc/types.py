"""What the stages hand to each other: plain values, no Django."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

SYMLINK_MODE = "120000"
SUBMODULE_MODE = "160000"
TREE_MODE = "040000"


class ErrorKind(StrEnum):
    """Why something failed: the same word in rows, console, commands and webhooks. `error_kinds` has their meaning."""

    ENDPOINT_TIMEOUT = "endpoint_timeout"
    ENDPOINT_UNREACHABLE = "endpoint_unreachable"
    ENDPOINT_TLS = "endpoint_tls"
    ENDPOINT_ERROR = "endpoint_error"
    ENDPOINT_REJECTED = "endpoint_rejected"
    ENDPOINT_THROTTLED = "endpoint_throttled"
    ENDPOINT_GONE = "endpoint_gone"
    ENDPOINT_FORBIDDEN_ADDRESS = "endpoint_forbidden_address"
    ENDPOINT_CIRCUIT_OPEN = "endpoint_circuit_open"
    GIT_AUTH = "git_auth"
    GIT_NOT_FOUND = "git_not_found"
    GIT_FORBIDDEN_ADDRESS = "git_forbidden_address"
    GIT_UNREACHABLE = "git_unreachable"
    GIT_TIMEOUT = "git_timeout"
    GIT_CORRUPT = "git_corrupt"
    REPOSITORY_TOO_LARGE = "repository_too_large"
    MASS_DELETE_HELD = "mass_delete_held"
    WORKER_DISK = "worker_disk"
    EGRESS_PROXY = "egress_proxy"
    INTERNAL = "internal"


class ChangeKind(StrEnum):
    DELETED = "deleted"
    CREATED = "created"
    UPDATED = "updated"


class ManifestEntry(NamedTuple):
    """One entry of a commit's tree, as `git ls-tree -r -z -l` gives it. A submodule has size 0."""

    path: bytes
    mode: str
    blob: str
    size: int


class TreeChange(NamedTuple):
    """One line of `git diff-tree -r -t`: what a path was and is. None where there was, or is, nothing."""

    path: bytes
    old_mode: str | None
    old_blob: str | None
    mode: str | None
    blob: str | None

    @property
    def is_folder(self) -> bool:
        """True for a folder, of which `blob` is the tree's id; it has a line of its own beside a file of its name."""
        return TREE_MODE in (self.old_mode, self.mode)


class LedgerRow(NamedTuple):
    """What the ledger says of one path. `blob` is None where nothing was ever acknowledged.

    With a `doubt_id`, an answer is missing: the app may have `doubt_blob` (None: may have deleted the path) instead.
    """

    path: bytes
    mode: str | None
    blob: str | None
    epoch: int
    doubt_id: str | None
    doubt_mode: str | None
    doubt_blob: str | None
    doubt_previous: str | None
    doubt_epoch: int | None


class Change(NamedTuple):
    """What an app must be told about one path.

    `mode` and `blob` are None for a deletion; `size` is in bytes. `previous_blob` is what the app had.
    `id` is set where the same change went out before and its answer is unknown: it goes out again with that id.
    """

    kind: ChangeKind
    path: bytes
    mode: str | None
    blob: str | None
    size: int
    previous_blob: str | None
    id: str | None


@dataclass(frozen=True, slots=True)
class RemoteHead:
    """Where a followed branch stands on the remote.

    `branch` is blank where the remote's HEAD is on no branch. `commit` is None for a repository without commits.
    """

    branch: str
    commit: str | None


@dataclass(frozen=True, slots=True)
class CommitInfo:
    commit: str
    tree: str
