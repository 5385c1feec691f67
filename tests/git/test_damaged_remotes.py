"""A damaged remote is called that, and the mirror, which is sound, is not rebuilt for it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.manifest import read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import Remote, SshCredential, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.git.conftest import LIMITS
from tests.git.servers import GitHttpServer, SshServer, git_daemon
from tests.gitrepo import GitRepo


@pytest.fixture(params=["file", "http", "git", "ssh"])
def remote(
    request: pytest.FixtureRequest, repo: GitRepo, http_server: GitHttpServer, tmp_path: Path
) -> Iterator[Remote]:
    """The repository by each transport: what its git says of the damage reaches us in another way by each."""
    match request.param:
        case "file":
            yield Remote(repo.url)
        case "http":
            yield Remote(http_server.url("repo.git"))
        case "git":
            with git_daemon(repo.path.parent) as base:
                yield Remote(f"{base}/repo.git")
        case _:
            ssh = SshServer(tmp_path / "ssh")
            yield Remote(ssh.url(repo.path), credential=SshCredential(ssh.private_key, ssh.known_hosts))
            ssh.close()


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.chmod(0o600)
    file.write_bytes(b"")


def garble(file: Path) -> None:
    file.chmod(0o600)
    file.write_bytes(b"x" * 40)


def flip(file: Path) -> None:
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("what", "harm"), [("blob", remove), ("tree", remove), ("blob", empty), ("tree", garble), ("blob", flip)]
)
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_objects_that_the_remote_lacks_or_cannot_read(
    repo: GitRepo,
    remote: Remote,
    make_mirror: Callable[..., Mirror],
    what: str,
    harm: Callable[[Path], None],
    is_new: bool,
) -> None:
    mirror = make_mirror(remote)
    if not is_new:
        mirror.fetch(RemoteHead("main", repo.commit({"a": b"1"})))
        before = (mirror.path / "HEAD").stat().st_ino
    commit = repo.commit({"dir/b": b"some content that is long enough to be damaged in the middle of it"})
    harm(loose(repo, f"{commit}:dir/b" if what == "blob" else f"{commit}:dir"))
    head = remote_head(remote, LIMITS)
    with pytest.raises(GitError, match="remote's own repository is damaged") as caught:
        mirror.fetch(head)
    assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, True)
    assert not caught.value.permanent
    if not is_new:
        assert (mirror.path / "HEAD").stat().st_ino == before
    assert list(mirror.path.parent.glob("*.new-*")) == []


def test_a_commit_that_the_remote_lacks(repo: GitRepo, remote: Remote, make_mirror: Callable[..., Mirror]) -> None:
    mirror = make_mirror(remote)
    mirror.fetch(RemoteHead("main", repo.commit({"a": b"1"})))
    commit = repo.commit({"a": b"2"})
    loose(repo, commit).unlink()
    with pytest.raises(GitError) as caught:
        mirror.fetch(RemoteHead("main", commit))
    assert caught.value.kind.startswith("git_")
    assert not caught.value.permanent
    assert "does not have" in str(caught.value) or "did not have" in str(caught.value) or caught.value.at_remote


def test_a_pack_that_the_remote_passes_on_damaged(
    repo: GitRepo, http_server: GitHttpServer, make_mirror: Callable[..., Mirror]
) -> None:
    mirror = make_mirror(Remote(http_server.url("repo.git")))
    mirror.fetch(RemoteHead("main", repo.commit({"a": b"1"})))
    before = (mirror.path / "HEAD").stat().st_ino
    commit = repo.commit({f"f{n}": bytes([n]) * 3000 + b"%d" % n for n in range(5)})
    repo.git("repack", "-a", "-d", "-q")
    pack = next(repo.path.glob("objects/pack/*.pack"))
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20] = b"\xff" * 20
    pack.write_bytes(content)
    http_server.discoveries = 0
    with pytest.raises(GitError) as caught:
        mirror.fetch(RemoteHead("main", commit))
    assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, True)
    assert http_server.discoveries == 1
    assert (mirror.path / "HEAD").stat().st_ino == before


def test_damage_that_is_met_while_asking_is_the_remotes(repo: GitRepo) -> None:
    repo.commit({"a": b"1"})
    (repo.path / "config").write_text("[core\n")
    with pytest.raises(GitError, match="remote's own repository is damaged") as caught:
        remote_head(Remote(repo.url), LIMITS)
    assert caught.value.at_remote


def test_alternates_that_are_gone(tmp_path: Path, repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
    head = RemoteHead("main", repo.commit({"a": b"1"}))
    borrower = tmp_path / "borrower.git"
    repo.git("clone", "-q", "--bare", "--shared", str(repo.path), str(borrower))
    (borrower / "objects/info/alternates").write_text("/nonexistent/objects\n")
    with pytest.raises(GitError, match="alternates") as caught:
        make_mirror(Remote(str(borrower))).fetch(head)
    assert caught.value.at_remote


def test_a_tree_that_git_would_not_write_is_the_remotes_damage(
    repo: GitRepo, make_mirror: Callable[..., Mirror]
) -> None:
    blob = repo.blob(b"1")
    entry = b"100644 a\0" + bytes.fromhex(blob)
    tree = repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=entry * 2).decode().strip()
    commit = repo.commit_tree(tree)
    mirror = make_mirror()
    mirror.fetch(RemoteHead("main", commit))
    with mirror.reading(), pytest.raises(GitError) as caught:
        list(read_manifest(mirror, commit))
    assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, True)


def test_damage_of_the_mirror_is_still_the_mirrors(repo: GitRepo, make_mirror: Callable[..., Mirror]) -> None:
    commit = repo.commit({"a": b"1"})
    mirror = make_mirror()
    mirror.fetch(RemoteHead("main", commit))
    tree = repo.rev(f"{commit}^{{tree}}")
    (mirror.path / "objects" / tree[:2] / tree[2:]).unlink()
    with mirror.reading(), pytest.raises(GitError) as caught:
        list(read_manifest(mirror, commit))
    assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, False)


def loose(repo: GitRepo, name: str) -> Path:
    """The file of an object, which is taken out of its pack where it is in one."""
    for pack in repo.path.glob("objects/pack/*.pack"):
        content = pack.read_bytes()
        for file in repo.path.glob(f"objects/pack/{pack.stem}.*"):
            file.unlink()
        repo.git("unpack-objects", "-q", data=content)
    sha = repo.rev(name)
    return repo.path / "objects" / sha[:2] / sha[2:]
