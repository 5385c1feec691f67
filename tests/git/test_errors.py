import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.errors import MAX_MESSAGE, git_error
from syncsvc.types import ErrorKind


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", ErrorKind.GIT_NOT_FOUND),
        ("fatal: repository 'https://h/a/' not found", ErrorKind.GIT_NOT_FOUND),
        ("fatal: couldn't find remote ref refs/heads/x", ErrorKind.GIT_NOT_FOUND),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", ErrorKind.GIT_AUTH),
        ("remote: Invalid username or token.\nfatal: Authentication failed for 'https://h/a/'", ErrorKind.GIT_AUTH),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", ErrorKind.GIT_AUTH),
        ("fatal: unable to access 'https://h/a/': The requested URL returned error: 403", ErrorKind.GIT_AUTH),
        ("fatal: unable to access 'https://h/a/': Could not resolve host: h", ErrorKind.GIT_UNREACHABLE),
        ("fatal: unable to access 'https://h/a/': SSL certificate problem: expired", ErrorKind.GIT_UNREACHABLE),
        ("error: RPC failed; curl 18\nfatal: early EOF\nfatal: fetch-pack: invalid", ErrorKind.GIT_UNREACHABLE),
        ("fatal: the remote end hung up unexpectedly", ErrorKind.GIT_UNREACHABLE),
        ("error: RPC failed; curl 28 Operation too slow.\nfatal: early EOF", ErrorKind.GIT_TIMEOUT),
        ("ssh: connect to host h port 22: Connection timed out", ErrorKind.GIT_TIMEOUT),
        ("error: object file objects/aa/bb is empty\nfatal: loose object aabb is corrupt", ErrorKind.GIT_CORRUPT),
        ("fatal: bad object refs/syncsvc/commits/aa", ErrorKind.GIT_CORRUPT),
        ("fatal: write error: No space left on device", ErrorKind.INTERNAL),
        ("fatal: something new", ErrorKind.INTERNAL),
        ("", ErrorKind.INTERNAL),
    ],
)
def test_what_git_says_tells_the_kind(stderr: str, kind: ErrorKind) -> None:
    error = git_error(stderr.encode())
    assert error.kind is kind
    assert str(error).count(";") or str(error).count(".") > 0


def test_a_reader_takes_unknown_words_for_damage() -> None:
    assert git_error(b"fatal: something new", otherwise=ErrorKind.GIT_CORRUPT).kind is ErrorKind.GIT_CORRUPT


def test_messages_are_short_and_hold_no_secret_userinfo_path_or_control_character() -> None:
    stderr = b"fatal: 'https://robot:s3cret@h/a' in /srv/mirrors/1.git: s3cret \x1b[31m\xff " + b"x" * 5000
    text = str(git_error(stderr, ["s3cret", "/srv/mirrors/1.git", "/srv/mirrors", ""]))
    assert len(text) <= MAX_MESSAGE
    assert not any(word in text for word in ("s3cret", "robot", "/srv", "\x1b"))
    assert "'https://h/a'" in text


@pytest.mark.parametrize(
    ("stderr", "status"),
    [
        ("fatal: unable to access 'https://h/a/': The requested URL returned error: 503", 503),
        ("error: RPC failed; HTTP 429 curl 22 The requested URL returned error: 429\nfatal: expected 'packfile'", 429),
        ("fatal: unable to access 'https://h/a/': Could not resolve host: h", None),
        ("fatal: unable to access 'https://h/a/': Failed to connect to h port 503 after 0 ms", None),
    ],
)
def test_an_http_status_is_told_apart_from_no_answer(stderr: str, status: int | None) -> None:
    assert git_error(stderr.encode()).status == status


def test_a_copy_of_an_error_says_the_same_and_is_another_exception() -> None:
    error = GitError(ErrorKind.GIT_UNREACHABLE, "It asks for a pause.", retry_after=7.5, status=429)
    copy = error.copy()

    assert copy is not error
    assert (copy.kind, str(copy), copy.retry_after, copy.status) == (error.kind, str(error), 7.5, 429)
