"""What git says on its standard error, turned into a kind and a clean sentence."""

import re
from collections.abc import Sequence

from syncsvc.exceptions import GitError
from syncsvc.types import ErrorKind

MAX_MESSAGE = 500
_STATUS = re.compile(r"(?:returned error: |HTTP code = )([1-5][0-9]{2})\b")

# The first kind with a phrase in git's words (LC_ALL=C, lower case) wins: a dropped connection also says "early EOF",
# and an unknown repository also says "could not read from remote repository".
_PHRASES: tuple[tuple[ErrorKind, tuple[str, ...]], ...] = (
    (ErrorKind.INTERNAL, ("no space left on device",)),
    (
        ErrorKind.GIT_NOT_FOUND,
        (
            "repository not found",
            "repository not exported",
            "does not appear to be a git repository",
            "couldn't find remote ref",
            "error: 404",
            "error: 410",
            "error: 301",
            "error: 302",
            "error: 307",
            "error: 308",
            "unable to update url base from redirection",
            "fatal: repository '",
            "not valid: is this a git repository",
            "could not be found or you don't have permission",
        ),
    ),
    (
        ErrorKind.GIT_AUTH,
        (
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied (",
            "error: 401",
            "error: 403",
            "host key verification failed",
            "access denied",
            "too many authentication failures",
            "no mutual signature",
            "error in libcrypto",
        ),
    ),
    (
        ErrorKind.GIT_CORRUPT,
        (
            "is corrupt",
            "bad object",
            "bad tree",
            "missing blob",
            "missing tree",
            "missing commit",
            "inflate",
            "not a valid object",
            "point to a valid object",
            "not a tree object",
            "did not send all necessary objects",
            "unable to read tree",
            "could not read tree",
            "unable to parse object",
            "cannot read object",
            "could not read object",
            "error: could not read ",
            "not a git repository: ",
            "hash mismatch",
            "sha1 mismatch",
            "loose object",
            "packfile ",
            "bad config",
            "bad pack",
            "reference broken",
            "cannot stream",
            "index file",
            "bad shallow",
            "mismatched algorithms",
            "pack has bad",
        ),
    ),
    (ErrorKind.GIT_TIMEOUT, ("operation too slow", "operation timed out", "connection timed out", "timed out")),
    (
        ErrorKind.GIT_UNREACHABLE,
        (
            "could not resolve",
            "unable to look up",
            "name or service not known",
            "failed to connect",
            "couldn't connect",
            "unable to connect",
            "connection refused",
            "connection reset",
            "connection closed",
            "network is unreachable",
            "no route to host",
            "early eof",
            "hung up",
            "rpc failed",
            "ssl",
            "tls",
            "certificate",
            "empty reply",
            "unexpected disconnect",
            "returned error: 5",
            "returned error: 429",
            "unable to access",
            "kex_exchange_identification",
            "could not read from remote repository",
            "protocol error",
        ),
    ),
)

_SENTENCES = {
    ErrorKind.GIT_NOT_FOUND: "The remote has no such repository, or hides it from this credential; check the URL.",
    ErrorKind.GIT_AUTH: "The remote refused the credential, or needs one; give one that may read this repository.",
    ErrorKind.GIT_CORRUPT: "git found damaged or missing objects; the mirror is rebuilt by the next run.",
    ErrorKind.GIT_TIMEOUT: "The remote took too long; it is tried again by itself.",
    ErrorKind.GIT_UNREACHABLE: "The remote cannot be reached; it is tried again by itself. Check URL and network.",
    ErrorKind.INTERNAL: "git failed in a way that is not known; read what it said and check the worker.",
}
_MOVED = "The remote answers with a redirect, which is not followed with a credential; set the URL it has moved to."
_NO_BRANCH = "The branch is no longer on the remote; push it, or set this repository's branch to another."
_HOST_KEY = "The ssh host's key is not among the pinned known hosts; check it and pin the right one."
_DISK_FULL = "The worker's disk is full; free space for the mirrors or lower MIRROR_MAX_BYTES."


def git_error(stderr: bytes, hide: Sequence[str] = (), *, otherwise: ErrorKind = ErrorKind.INTERNAL) -> GitError:
    """Kind and sentence for a git that failed; `hide` are the secrets and paths that must not be shown.

    `otherwise` is the kind of what git says in words that are not known here.
    """
    text = stderr.decode("utf-8", "replace")
    kind = _kind(text.lower(), otherwise)
    line = clean(_telling_line(text), hide)
    sentence = _sentence(kind, text.lower())
    status = _STATUS.search(text)
    message = (f"{sentence} git said: {line}" if line else sentence)[:MAX_MESSAGE]
    return GitError(kind, message, status=int(status[1]) if status else None)


def clean(text: str, hide: Sequence[str] = ()) -> str:
    for secret in sorted(filter(None, hide), key=len, reverse=True):
        text = text.replace(secret, "…")
    text = re.sub(r"//[^/\s'\"]*@", "//", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _kind(text: str, otherwise: ErrorKind) -> ErrorKind:
    for kind, phrases in _PHRASES:
        if any(phrase in text for phrase in phrases):
            return kind
    return otherwise


def _sentence(kind: ErrorKind, text: str) -> str:
    if kind is ErrorKind.GIT_NOT_FOUND and ("redirection" in text or "returned error: 30" in text):
        return _MOVED
    if kind is ErrorKind.GIT_NOT_FOUND and "find remote ref" in text:
        return _NO_BRANCH
    if kind is ErrorKind.GIT_AUTH and "host key verification" in text:
        return _HOST_KEY
    if kind is ErrorKind.INTERNAL and "no space left" in text:
        return _DISK_FULL
    return _SENTENCES[kind]


def _telling_line(text: str) -> str:
    """The line that says most: the first `fatal:` or `error:`, git's own before the remote's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    remote = [line for line in lines if line.startswith("remote:") and len(line) > 10]
    return " ".join((told or lines)[:1] + remote[:1])[:300]
