"""Names that a remote gives its branches: followed where git allows them, refused in words where they cannot be."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.exceptions import GitError
from syncsvc.git.branch import MAX_LENGTH, wrong_with_branch
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import Remote, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LIMITS
from tests.git.servers import odd_server, packets
from tests.gitrepo import GitRepo

FOLLOWED = [
    "main",
    "HEAD",
    "refs/heads/x",
    "heads/main",
    "@",
    "-x",
    "--upload-pack=touch",
    "a@b",
    "été",
    "分支",
    "👩\u200d💻",
    "feature/#42-'quoted'-\"twice\"",
    "a;b|c&d$(e)`f`",
    "%2e%2e",
    "n" * 200,
    "/".join(["n" * 49] * 5),
]
REFUSED = [
    b"",
    b" ",
    b"a..b",
    b"a:b",
    b"a*",
    b"+a^{}",
    b"~1",
    b"a\\b",
    b"a\x01b",
    b"a\x7f",
    b"a\x1b[31m",
    b"a//b",
    b"/a",
    b"a/",
    b".a",
    b"a.lock",
    b"a.",
    b"a@{1}",
    b"n" * 251,
    b"n" * 300,
    b"n" * 1000,
    b"x:refs/heads/y",
    b"caf\xe9",
    b"\xff\xfe",
    b"\xed\xa0\x80",
]


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("named", [True, False])
def test_a_branch_that_git_allows_is_followed_whatever_it_is_called(
    repo: GitRepo, make_mirror: Callable[..., Mirror], name: str, named: bool
) -> None:
    repo.commit({"a": b"main's"})
    repo.git("update-ref", f"refs/heads/{name}", repo.commit({"a": b"its own"}, branch="other"))
    commit = repo.rev("refs/heads/other")
    repo.git("symbolic-ref", "HEAD", f"refs/heads/{name}")
    remote = Remote(repo.url, name if named else "")
    head = remote_head(remote, LIMITS)
    assert head == RemoteHead(name, commit)
    mirror = make_mirror(remote)
    assert mirror.fetch(head) == commit
    assert mirror.run("cat-file", "-p", f"{commit}:a") == b"its own"


def test_a_branch_named_head_is_not_the_remotes_head(repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
    mains = repo.commit({"a": b"main's"})
    its_own = repo.commit({"a": b"its own"}, branch="other")
    repo.git("update-ref", "refs/heads/HEAD", its_own)
    assert remote_head(Remote(repo.url), LIMITS) == RemoteHead("main", mains)
    assert remote_head(Remote(repo.url, "HEAD"), LIMITS) == RemoteHead("HEAD", its_own)
    repo.git("update-ref", "--no-deref", "HEAD", mains)
    detached = remote_head(Remote(repo.url), LIMITS)
    assert detached == RemoteHead("", mains)
    assert make_mirror().fetch(detached) == mains
    assert make_mirror(name="other").fetch(RemoteHead("HEAD", its_own)) == its_own


@pytest.mark.parametrize("name", REFUSED)
def test_a_head_on_a_name_that_cannot_be_is_refused_in_words(name: bytes) -> None:
    with head_on(name) as url, pytest.raises(GitError) as caught:
        remote_head(Remote(url), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND
    assert "set this repository's branch" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("length", [249, 250])
def test_a_head_on_a_name_of_up_to_250_letters_is_followed(length: int) -> None:
    with head_on(b"n" * length) as url:
        assert remote_head(Remote(url), LIMITS) == RemoteHead("n" * length, "1" * 40)


def test_a_head_on_anything_but_a_branch_is_on_none() -> None:
    with head_on(b"", ref=b"refs/changes/1") as url:
        assert remote_head(Remote(url), LIMITS) == RemoteHead("", "1" * 40)


@contextlib.contextmanager
def head_on(branch: bytes, *, ref: bytes = b"") -> Iterator[str]:
    """A remote that speaks git's protocol 2, in which git takes any name for where HEAD is."""
    line = b"%s HEAD symref-target:%s" % (b"1" * 40, ref or b"refs/heads/" + branch)
    discovery = packets(b"version 2\n", b"ls-refs\n", b"object-format=sha1\n")
    smart = {"Content-Type": "application/x-git-upload-pack-advertisement"}
    with odd_server(discovery, post_body=packets(line), headers=smart) as base:
        yield f"{base}/a.git"


@given(st.text(min_size=1, max_size=300))
def test_what_git_would_refuse_is_refused(name: str) -> None:
    """git-check-ref-format(1), told otherwise: by parts instead of by a pattern."""
    parts = name.split("/")
    allowed = (
        len(name) <= MAX_LENGTH
        and all(part and not part.startswith(".") and not part.endswith(".lock") for part in parts)
        and not any(character <= " " or character in "\x7f~^:?*[\\" for character in name)
        and ".." not in name
        and "@{" not in name
        and not name.endswith(".")
    )
    assert (wrong_with_branch(name) == "") == allowed
