"""An answer that is none is no empty repository: what counts over http is git's own protocol."""

from collections.abc import Callable

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, HttpCredential, Remote, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LIMITS, LOCAL
from tests.git.servers import GitHttpServer, git_daemon, odd_server, packets, plain_files
from tests.gitrepo import GitRepo

SMART = {"Content-Type": "application/x-git-upload-pack-advertisement"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
COMMIT = "1" * 40


def error_of(url: str, branch: str = "", limits: GitLimits = LIMITS) -> GitError:
    with pytest.raises(GitError) as caught:
        remote_head(Remote(url, branch), limits)
    return caught.value


@pytest.mark.parametrize("branch", ["", "main"])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"", HTML),
        (b"", {"Content-Type": "text/plain"}),
        (b"<html>Please log in</html>", HTML),
        (b"<!DOCTYPE html>\n<html>\n<p>Please log in\n</html>\n", HTML),
        (b"OK", {"Content-Type": "text/plain"}),
        (b'{"status": "ok"}', {"Content-Type": "application/json"}),
        (b"\n", {}),
        (f"{COMMIT}\trefs/tags/v1\n".encode(), {"Content-Type": "text/plain"}),
        (f"{COMMIT}\trefs/heads/other\n".encode(), {"Content-Type": "text/plain"}),
        (b"\0" * 100, {"Content-Type": "application/octet-stream"}),
    ],
)
def test_an_answer_that_is_not_gits_is_no_repository(body: bytes, headers: dict[str, str], branch: str) -> None:
    with odd_server(body, headers=headers) as base:
        error = error_of(f"{base}/team/handbook.git", branch)
    assert error.kind is ErrorKind.GIT_NOT_FOUND
    assert "check the URL" in str(error)


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"<html>", b"000ehello you\n", b"0000", b"0012ERR repo gone\n0000", b"001e# service=git-up"]
)
def test_an_answer_that_breaks_gits_protocol_is_not_believed(body: bytes) -> None:
    with odd_server(body, headers=SMART) as base:
        error = error_of(f"{base}/team/handbook.git")
    assert error.kind is ErrorKind.GIT_UNREACHABLE


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"0000"])
@pytest.mark.parametrize("branch", ["", "main"])
def test_a_page_in_place_of_the_list_of_refs_is_called_that(body: bytes, branch: str) -> None:
    """By protocol 2 the list comes second; the first answer says only what the server can do."""
    discovery = packets(b"version 2\n", b"ls-refs\n", b"object-format=sha1\n")
    with odd_server(discovery, headers=SMART, post_body=body, post_headers=HTML) as base:
        error = error_of(f"{base}/team/handbook.git", branch)
    assert error.kind in {ErrorKind.GIT_UNREACHABLE, ErrorKind.GIT_NOT_FOUND}
    assert "page" in str(error)


@pytest.fixture(params=["file", "http", "daemon"])
def base_url(request: pytest.FixtureRequest, repo: GitRepo, http_server: GitHttpServer) -> object:
    """The repository's URL by each transport."""
    if request.param == "file":
        yield repo.url
    elif request.param == "http":
        yield http_server.url("repo.git")
    else:
        with git_daemon(repo.path.parent) as base:
            yield f"{base}/repo.git"


def test_an_empty_repository_has_no_commit(base_url: str) -> None:
    assert remote_head(Remote(base_url), LIMITS) == RemoteHead("", None)


def test_a_named_branch_of_an_empty_repository_is_missing(base_url: str) -> None:
    assert error_of(base_url, "main").kind is ErrorKind.GIT_NOT_FOUND


@pytest.mark.parametrize("branch", ["", "main"])
def test_a_repository_with_only_tags_is_not_empty(repo: GitRepo, base_url: str, branch: str) -> None:
    repo.git("update-ref", "refs/tags/v1", repo.commit({"a": b"1"}))
    repo.git("update-ref", "-d", "refs/heads/main")
    error = error_of(base_url, branch)
    assert error.kind is ErrorKind.GIT_NOT_FOUND
    assert "branch" in str(error)


@pytest.mark.parametrize("branch", ["", "main"])
def test_a_repository_whose_refs_are_hidden_is_not_empty(repo: GitRepo, base_url: str, branch: str) -> None:
    repo.commit({"a": b"1"})
    for hidden in ("HEAD", "refs"):
        repo.git("config", "--add", "uploadpack.hideRefs", hidden)
    assert error_of(base_url, branch).kind is ErrorKind.GIT_NOT_FOUND


def test_a_head_on_a_branch_that_is_not_there_is_not_an_empty_repository(repo: GitRepo, base_url: str) -> None:
    repo.commit({"a": b"1"}, branch="other")
    assert "HEAD names a branch that is not there" in str(error_of(base_url))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_refused_redirect_says_where_to(status: int) -> None:
    new = "https://me:s3cret@new.example/team/handbook.git/info/refs?service=git-upload-pack"
    with odd_server(status=status, headers={"Location": new}) as base, pytest.raises(GitError) as caught:
        remote_head(Remote(f"{base}/a.git", credential=HttpCredential("robot", "t0ken")), LIMITS)
    assert caught.value.kind is ErrorKind.GIT_NOT_FOUND
    assert "redirect to https://new.example/team/handbook.git," in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "retry_after"),
    [
        (401, {"WWW-Authenticate": "Basic"}, b"", ErrorKind.GIT_AUTH, None),
        (403, {}, b"no", ErrorKind.GIT_AUTH, None),
        (403, {"Retry-After": "33"}, b"no", ErrorKind.GIT_UNREACHABLE, 33.0),
        (403, {}, b"You have exceeded a secondary rate limit", ErrorKind.GIT_UNREACHABLE, None),
        (403, {}, b"API rate limit exceeded for 203.0.113.7", ErrorKind.GIT_UNREACHABLE, None),
        (404, {}, b"Gone fishing", ErrorKind.GIT_NOT_FOUND, None),
        (410, {}, b"", ErrorKind.GIT_NOT_FOUND, None),
        (418, {}, b"", ErrorKind.GIT_UNREACHABLE, None),
        (429, {"Retry-After": "7"}, b"", ErrorKind.GIT_UNREACHABLE, 7.0),
        (429, {}, b"Repository not found", ErrorKind.GIT_UNREACHABLE, None),
        (500, {}, b"fatal: unable to read tree", ErrorKind.GIT_UNREACHABLE, None),
        (502, {}, b"authentication failed", ErrorKind.GIT_UNREACHABLE, None),
        (503, {}, b"Repository not found in cache", ErrorKind.GIT_UNREACHABLE, None),
        (503, {"Retry-After": "120"}, b"Repository not found in cache", ErrorKind.GIT_UNREACHABLE, 120.0),
        (504, {}, b"", ErrorKind.GIT_TIMEOUT, None),
    ],
)
@pytest.mark.parametrize("name", ["handbook.git", "inflate", "error:403/not-found"])
def test_the_status_tells_the_kind_whatever_the_url_and_the_body_say(
    name: str, status: int, headers: dict[str, str], body: bytes, kind: ErrorKind, retry_after: float | None
) -> None:
    with odd_server(body, status=status, headers={"Content-Type": "text/plain", **headers}) as base:
        error = error_of(f"{base}/team/{name}")
    assert (error.kind, error.retry_after) == (kind, retry_after)


def test_a_401_says_that_the_url_may_be_wrong_as_well() -> None:
    with odd_server(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}) as base:
        error = error_of(f"{base}/mistyped.git")
    assert "no such repository" in str(error)
    assert "credential" in str(error)


def test_a_limit_in_the_middle_of_a_fetch_says_how_long_too(
    repo: GitRepo, http_server: GitHttpServer, make_mirror: Callable[..., Mirror]
) -> None:
    head = RemoteHead("main", repo.commit({"a": b"1"}))
    mirror = make_mirror(Remote(http_server.url("repo.git")))
    http_server.status = 429
    with pytest.raises(GitError) as caught:
        mirror.fetch(head)
    assert (caught.value.kind, caught.value.retry_after) == (ErrorKind.GIT_UNREACHABLE, 1.0)


class TestPlainFiles:
    """A repository that a web server gives away as files: git's dumb protocol."""

    @pytest.fixture
    def url(self, repo: GitRepo) -> object:
        with plain_files(repo.path.parent) as base:
            yield f"{base}/repo.git"

    def test_it_is_mirrored_whole(self, repo: GitRepo, url: str, make_mirror: Callable[..., Mirror]) -> None:
        mirror = make_mirror(Remote(url))
        for number in range(3):
            commit = repo.commit({"a": b"%d" % number, f"f{number}": b"x" * 1000})
            repo.git("update-server-info")
            head = remote_head(Remote(url), LIMITS)
            assert head == RemoteHead("main", commit)
            assert mirror.fetch(head) == commit
            assert mirror.run("cat-file", "-p", f"{commit}:a") == b"%d" % number

    def test_without_its_list_of_refs_it_is_not_found(self, repo: GitRepo, url: str) -> None:
        repo.commit({"a": b"1"})
        assert error_of(url).kind is ErrorKind.GIT_NOT_FOUND

    def test_a_branch_that_is_not_listed_is_missing(self, repo: GitRepo, url: str) -> None:
        repo.commit({"a": b"1"})
        repo.git("update-server-info")
        assert error_of(url, "other").kind is ErrorKind.GIT_NOT_FOUND

    def test_an_object_that_is_not_there_is_the_remotes_damage(
        self, repo: GitRepo, url: str, make_mirror: Callable[..., Mirror]
    ) -> None:
        head = RemoteHead("main", repo.commit({"a": b"1"}))
        repo.git("update-server-info")
        blob = repo.ls_tree()[b"a"].sha
        (repo.path / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(GitError) as caught:
            make_mirror(Remote(url)).fetch(head)
        assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, True)

    @pytest.mark.parametrize("ending", ["", "/"])
    def test_alternates_are_not_followed_and_said(
        self, repo: GitRepo, url: str, make_mirror: Callable[..., Mirror], ending: str
    ) -> None:
        head = RemoteHead("main", repo.commit({"a": b"1"}))
        borrower = repo.path.with_name("borrower.git")
        repo.git("clone", "-q", "--bare", "--shared", str(repo.path), str(borrower))
        repo.git("--git-dir", str(borrower), "update-server-info")
        base = url.removesuffix("repo.git")
        (borrower / "objects/info/http-alternates").write_text(f"{url}/objects{ending}\n")
        with pytest.raises(GitError, match="alternates") as caught:
            make_mirror(Remote(f"{base}borrower.git")).fetch(head)
        assert caught.value.at_remote


class TestWithoutShallowClones:
    @pytest.mark.parametrize("branch", ["", "main"])
    def test_a_server_that_cannot_is_mirrored_whole(
        self, repo: GitRepo, http_server: GitHttpServer, make_mirror: Callable[..., Mirror], branch: str
    ) -> None:
        http_server.shallow = False
        remote = Remote(http_server.url("repo.git"), branch)
        mirror = make_mirror(remote)
        for number in range(3):
            commit = repo.commit({"a": b"%d" % number})
            assert mirror.fetch(remote_head(remote, LIMITS)) == commit
        assert mirror.run("rev-list", "--count", commit).strip() == b"3"

    def test_a_history_that_is_too_large_is_refused_for_good(
        self, repo: GitRepo, http_server: GitHttpServer, make_mirror: Callable[..., Mirror]
    ) -> None:
        http_server.shallow = False
        head = RemoteHead("main", repo.commit({"a": b"1"}))
        mirror = make_mirror(Remote(http_server.url("repo.git")), limits=GitLimits(egress=LOCAL, full_fetch_bytes=1))
        with pytest.raises(GitError, match="GIT_FULL_FETCH_MAX_BYTES") as caught:
            mirror.fetch(head)
        assert caught.value.permanent
        assert not mirror.path.exists()
