"""Kinds come from git's, curl's and ssh's own lines, and from no word of a URL, a branch or a remote."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.exceptions import GitError
from syncsvc.git.errors import MAX_MESSAGE, attributed, git_error
from syncsvc.git.wire import HttpAnswer
from syncsvc.types import ErrorKind

COMPLAINTS = tomllib.loads((Path(__file__).parent / "complaints.toml").read_text(encoding="utf-8"))["complaint"]
# Each of these means something where git itself says it.
WORDS = [
    "inflate",
    "bad-object",
    "early-EOF",
    "error:-403",
    "not-found",
    "Repository-not-found.",
    "authentication-failed",
    "Permission-denied-(publickey)",
    "No-space-left-on-device",
    "certificate-has-expired",
    "timed-out",
    "is-corrupt",
    "hung-up",
    "404",
    "fatal:",
]
REMOTE_SAYS = [
    "Repository not found.",
    "fatal: repository 'https://git.example/team/handbook.git/' not found",
    "fatal: Authentication failed for 'https://git.example/'",
    "The requested URL returned error: 404",
    "fatal: unable to read tree",
    "Permission denied (publickey).",
    "No space left on device",
    "Connection timed out",
    "SSL certificate problem: certificate has expired",
    "Host key verification failed.",
    "sign_and_send_pubkey: no mutual signature supported",
    "Unauthorized",
]
# What a status, curl or ssh decides before anything that a remote says.
DECIDED = [
    complaint
    for complaint in COMPLAINTS
    if re.search(r"fatal: unable to access|RPC failed|ssh: |Permission denied \(|not found$", complaint["stderr"], re.M)
    and not complaint.get("at_remote")
]


def test_there_are_many_complaints_of_each_kind() -> None:
    kinds = {complaint["kind"] for complaint in COMPLAINTS}
    assert len(COMPLAINTS) >= 80
    told_by_us = {ErrorKind.GIT_FORBIDDEN_ADDRESS}  # git is not started
    gits = {kind for kind in ErrorKind if kind.startswith("git_")} - told_by_us
    assert kinds == gits | {ErrorKind.WORKER_DISK, ErrorKind.INTERNAL}


@pytest.mark.parametrize("complaint", COMPLAINTS, ids=[complaint["from"] for complaint in COMPLAINTS])
def test_what_git_says_tells_the_kind(complaint: dict[str, Any]) -> None:
    error = git_error(complaint["stderr"].encode())
    assert error.kind == complaint["kind"]
    assert error.at_remote is complaint.get("at_remote", False)
    assert error.retry_after == complaint.get("retry_after")
    assert len(str(error)) <= MAX_MESSAGE
    assert len(str(error).split(" git said: ")[0]) > 40
    assert "{" not in str(error)


@given(complaint=st.sampled_from(COMPLAINTS), words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
def test_the_words_of_a_url_change_nothing(complaint: dict[str, Any], words: list[str]) -> None:
    name = "/".join(words)
    stderr = re.sub(
        r"(?<=/)(?:team/handbook|acme/web|o/r|a|nothing)(?=\.git)", lambda _: name, complaint["stderr"]
    ).replace("refs/heads/gone", f"refs/heads/{name}")
    assert git_error(stderr.encode()).kind == complaint["kind"]
    assert git_error(stderr.encode(), url=f"https://git.example/{name}.git").kind == complaint["kind"]


@given(complaint=st.sampled_from(DECIDED), said=st.lists(st.sampled_from(REMOTE_SAYS), min_size=1, max_size=3))
def test_the_words_of_a_remote_change_nothing(complaint: dict[str, Any], said: list[str]) -> None:
    stderr = "".join(f"remote: {line}\n" for line in said) + complaint["stderr"]
    assert git_error(stderr.encode()).kind == complaint["kind"]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (403, {}, ErrorKind.GIT_AUTH, None),
        (403, {"retry-after": "60"}, ErrorKind.GIT_UNREACHABLE, 60.0),
        (403, {"x-ratelimit-remaining": "12"}, ErrorKind.GIT_AUTH, None),
        (429, {}, ErrorKind.GIT_UNREACHABLE, None),
        (429, {"retry-after": "7"}, ErrorKind.GIT_UNREACHABLE, 7.0),
        (429, {"retry-after": "soon"}, ErrorKind.GIT_UNREACHABLE, None),
        (503, {"retry-after": "120"}, ErrorKind.GIT_UNREACHABLE, 120.0),
        (503, {}, ErrorKind.GIT_UNREACHABLE, None),
        (
            429,
            {"date": "Wed, 25 Nov 2026 10:00:00 GMT", "retry-after": "Wed, 25 Nov 2026 10:00:30 GMT"},
            ErrorKind.GIT_UNREACHABLE,
            30.0,
        ),
        (
            403,
            {"date": "Wed, 25 Nov 2026 10:00:00 GMT", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795600860"},
            ErrorKind.GIT_UNREACHABLE,
            60.0,
        ),
        (404, {"retry-after": "5"}, ErrorKind.GIT_NOT_FOUND, None),
    ],
)
def test_a_limit_of_the_forge_says_how_long_it_lasts(
    status: int, headers: dict[str, str], kind: ErrorKind, retry_after: float | None
) -> None:
    said = f"fatal: unable to access 'https://git.example/a.git/': The requested URL returned error: {status}"
    error = git_error(said.encode(), url="https://git.example/a.git", answer=HttpAnswer(status, headers))
    assert (error.kind, error.retry_after) == (kind, retry_after)


@pytest.mark.parametrize(
    ("seconds", "shown"), [("60", "left alone for 60 s"), ("9" * 30, "left alone for a while"), ("9" * 400, "a while")]
)
def test_a_wait_that_will_be_cut_is_not_promised(seconds: str, shown: str) -> None:
    said = b"fatal: unable to access 'https://git.example/a.git/': The requested URL returned error: 429"
    error = git_error(said, url="https://git.example/a.git", answer=HttpAnswer(429, {"retry-after": seconds}))
    assert shown in str(error)
    assert error.retry_after == float(seconds)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://new.example/a.git/info/refs?service=git-upload-pack", "redirect to https://new.example/a.git,"),
        ("https://me:s3cret@new.example:8443/b/info/refs?token=s3cret#x", "redirect to https://new.example:8443/b,"),
        ("/other/info/refs?service=git-upload-pack", "redirect to https://git.example/other,"),
        ("//new.example/c", "redirect to https://new.example/c,"),
        ("javascript:alert(1)", "a redirect,"),
        ("http://[::bad/", "a redirect,"),
        ("", "a redirect,"),
    ],
)
def test_a_redirect_says_where_to_without_what_is_secret(location: str, shown: str) -> None:
    said = b"fatal: unable to access 'https://git.example/a.git/': The requested URL returned error: 301"
    error = git_error(said, url="https://git.example/a.git", answer=HttpAnswer(301, {"location": location}))
    assert error.kind is ErrorKind.GIT_NOT_FOUND
    assert shown in str(error)
    assert "s3cret" not in str(error)


def test_a_reader_takes_unknown_words_for_damage() -> None:
    assert git_error(b"fatal: something new", otherwise=ErrorKind.GIT_CORRUPT).kind is ErrorKind.GIT_CORRUPT


def test_trouble_with_the_disk_names_the_folder_and_what_to_do() -> None:
    full = str(git_error(b"fatal: write error: No space left on device", folder="/srv/mirrors"))
    assert "/srv/mirrors" in full
    assert "MIRROR_MAX_BYTES" in full
    assert "writable" in str(git_error(b"fatal: cannot mkdir x: Permission denied", folder="/srv/mirrors"))


def test_messages_are_short_and_hold_no_secret_userinfo_path_or_control_character() -> None:
    stderr = b"fatal: 'https://robot:s3cret@h/a' in /srv/mirrors/1.git: s3cret \x1b[31m\xff " + b"x" * 5000
    text = str(git_error(stderr, ["s3cret", "/srv/mirrors/1.git", "/srv/mirrors", ""]))
    assert len(text) <= MAX_MESSAGE
    assert not any(word in text for word in ("s3cret", "robot", "/srv", "\x1b"))
    assert "'https://h/a'" in text


def test_progress_is_not_what_git_said() -> None:
    stderr = b"remote: Counting objects:  50% (1/2)\rReceiving objects: 100% (2/2), 1 KiB\r\nfatal: something new\n"
    assert str(git_error(stderr)).endswith("git said: fatal: something new")


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


@pytest.mark.parametrize(
    ("stderr", "complaints", "marked"),
    [
        (b"fatal: early EOF\n", ["early EOF"], b"fatal: early EOF\n"),
        (b"fatal: no: a\nfatal: b\n", ["no: a\nfatal: b"], b"fatal: no: a\nremote: fatal: b\n"),
        (b"remote: a\rerror: b\nfatal: early EOF", ["early EOF"], b"remote: a\nremote: error: b\nfatal: early EOF"),
        (b"fatal: a?[2Jb\tc\n", ["a\x1b[2Jb\tc"], b"fatal: a?[2Jb\tc\n"),
        (b"fatal: " + b"a" * 4080, ["a" * 5000], b"fatal: " + b"a" * 4080),
        (b"fatal: a", ["ab"], b"remote: fatal: a"),
        (b"ssh: no\nfatal: b", [], b"ssh: no\nfatal: b"),
        # The program at the other end of ssh is all that there is to go by.
        (
            b"fatal: b\nfatal: Could not read from remote repository.",
            ["Could not read from remote repository.\n\nPlease"],
            b"fatal: b\nfatal: Could not read from remote repository.",
        ),
    ],
)
def test_only_what_git_traced_is_taken_for_its_own(stderr: bytes, complaints: list[str], marked: bytes) -> None:
    assert attributed(stderr, complaints) == marked


@pytest.mark.parametrize(
    "odd",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "Mon, 01 Jan 2024 99999999999999999999:00:00 +0000",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 -9999",
        "1 2 3",
    ],
)
def test_a_time_that_is_none_is_no_wait(odd: str) -> None:
    assert HttpAnswer(503, {"retry-after": odd}).retry_after in {None, 0.0}
    assert HttpAnswer(503, {"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT", "date": odd}).retry_after is not None
