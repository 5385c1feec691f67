"""What `git ls-remote` printed, read and checked: a row, a page and a webhook will hold it."""

import re

from syncsvc.exceptions import GitError
from syncsvc.git.branch import wrong_with_branch
from syncsvc.types import ErrorKind, RemoteHead

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def ref_of(branch: str) -> str:
    return f"refs/heads/{branch}"


def head_of_branch(output: bytes, branch: str) -> RemoteHead:
    """Commit None where the branch is not among what was printed."""
    lines, wanted = output.split(b"\n"), b"\t" + ref_of(branch).encode()
    commits = [line.split(b"\t")[0] for line in lines if line.endswith(wanted) and not line.startswith(b"ref:")]
    return RemoteHead(branch, _commit(commits[0]) if commits else None)


def head_of_remote(output: bytes) -> RemoteHead:
    """Of the remote's own HEAD, which `--symref` prints with the branch that it is on."""
    branch, commit = "", None
    for line in output.split(b"\n"):
        value, _, name = line.partition(b"\t")
        if name == b"HEAD" and value.startswith(b"ref: refs/heads/"):
            branch = _branch_of_head(value.removeprefix(b"ref: refs/heads/"))
        elif name == b"HEAD" and not value.startswith(b"ref:"):
            commit = _commit(value)
    return RemoteHead(branch, commit)


def _branch_of_head(name: bytes) -> str:
    try:
        branch = name.decode("utf-8")
        reason = wrong_with_branch(branch)
    except UnicodeDecodeError:
        branch, reason = name.decode("utf-8", "backslashreplace"), "it is not UTF-8"
    if reason:
        shown = "".join(c if c.isprintable() else "?" for c in branch[:60])
        raise GitError(
            ErrorKind.GIT_NOT_FOUND,
            f"The remote's HEAD is on a branch whose name {shown!r} cannot be followed: {reason}."
            " Rename it there, or set this repository's branch to another.",
        )
    return branch


def _commit(text: bytes) -> str:
    commit = text.decode("ascii", "replace")
    if not _COMMIT.fullmatch(commit):
        raise GitError(ErrorKind.GIT_UNREACHABLE, "The remote names a commit by what is no git object id; check it.")
    return commit
