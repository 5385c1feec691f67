"""What an ssh server says before and while it lets nobody in, and what would be asked for a password, hurts nothing."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import HttpCredential, Remote, SshCredential, remote_head
from syncsvc.types import ErrorKind
from tests.git.conftest import LIMITS
from tests.git.servers import SSHD, GitHttpServer, SshServer, plain_files, serving
from tests.gitrepo import GitRepo

HOSTILE = "\x1b]0;mine\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\x00\x08\r"
# Words of git and ssh, as if they had said them.
LIES = [
    "fatal: write error: No space left on device",
    "error: file write error: No space left on device",
    "fatal: unable to create temporary file: Read-only file system",
    "error: insufficient permission for adding an object to repository database ./objects",
    "fatal: Out of memory, malloc failed (tried to allocate 7 bytes)",
    "fatal: exceeded maximum allowed tree depth",
    "fatal: bad object HEAD",
    "Permission denied (publickey).",
    "fatal: repository 'x' not found",
]


def is_clean(text: str) -> bool:
    return len(text) < 3000 and all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if not SSHD.exists() and "CI" not in os.environ:
        pytest.skip("no sshd here")
    server = SshServer(tmp_path_factory.mktemp("hostile") / "ssh")
    yield server
    server.close()


@pytest.fixture
def says(ssh: SshServer) -> Iterator[Callable[[bytes], int]]:
    """The port of a server that sends these bytes to each client and hangs up."""
    listeners = []

    def start(words: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    try:
                        client.sendall(words)
                        client.recv(1 << 16)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def failure(remote: Remote) -> GitError:
    with pytest.raises(GitError) as caught:
        remote_head(remote, LIMITS)
    return caught.value


@pytest.mark.parametrize(
    "words",
    [
        f"{HOSTILE}\r\n".encode(),
        f"{HOSTILE}\r\nSSH-2.0-{HOSTILE}\r\n".encode(),
        b"\xff\xfe\r\n" * 2000,
        b"A" * 300_000,
        b"SSH-1.0-old\r\n",
        b"SSH-2.0-x\r\n" + b"\x00\x00\xff\xff" + os.urandom(70_000),
        *(f"{lie}\r\n".encode() for lie in LIES),
    ],
)
def test_what_comes_before_ssh_begins_is_told_without_escapes(
    says: Callable[[bytes], int], ssh: SshServer, words: bytes
) -> None:
    port = says(words)
    known = ssh.known_hosts.replace(f":{ssh.port} ", f":{port} ")
    error = failure(Remote(f"ssh://git@127.0.0.1:{port}/r.git", "", SshCredential(ssh.private_key, known)))
    assert is_clean(str(error)), repr(str(error))
    assert error.kind in {ErrorKind.GIT_UNREACHABLE, ErrorKind.GIT_AUTH}, error


@pytest.fixture(scope="module")
def banner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SshServer, Path]]:
    """An sshd that shows the words of a file to whoever comes."""
    if not SSHD.exists() and "CI" not in os.environ:
        pytest.skip("no sshd here")
    folder = tmp_path_factory.mktemp("banner")
    file = folder / "words"
    file.write_text("")
    server = SshServer(folder / "ssh", f"Banner {file}\n")
    yield server, file
    server.close()


@pytest.mark.parametrize("words", [HOSTILE, "x" * 100_000, *LIES])
def test_a_banner_is_told_without_escapes_and_is_not_taken_for_words_of_ours(
    banner: tuple[SshServer, Path], repo: GitRepo, words: str
) -> None:
    server, file = banner
    file.write_text(f"{words}\n")
    error = failure(Remote(server.url(repo.path), "", SshCredential(server.strangers_key, server.known_hosts)))
    assert is_clean(str(error)), repr(str(error))
    assert error.kind in {ErrorKind.GIT_AUTH, ErrorKind.GIT_NOT_FOUND, ErrorKind.GIT_UNREACHABLE}, error


def test_a_banner_keeps_nobody_from_reading(banner: tuple[SshServer, Path], repo: GitRepo) -> None:
    server, file = banner
    file.write_text("\n".join((HOSTILE, *LIES)) + "\n")
    commit = repo.commit({"a": b"1"})
    remote = Remote(server.url(repo.path), "", SshCredential(server.private_key, server.known_hosts))
    assert remote_head(remote, LIMITS).commit == commit


def test_no_program_is_asked_for_a_password(
    tmp_path: Path, ssh: SshServer, repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of those that the environment names, whatever a server would have it ask."""
    asked = tmp_path / "asked"
    program = tmp_path / "askpass"
    program.write_text(f'#!/bin/sh\necho "$1" >>{asked}\necho secret\n')
    program.chmod(0o755)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS", "GIT_EDITOR", "GIT_SSH", "GIT_PROXY_COMMAND"):
        monkeypatch.setenv(name, str(program))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("DISPLAY", ":0")
    server = GitHttpServer(repo.path.parent, username="git", token="token")
    try:
        for credential in (None, HttpCredential("git", "wrong")):
            assert failure(Remote(server.url(repo.path.name), "", credential)).kind is ErrorKind.GIT_AUTH
    finally:
        server.close()
    error = failure(Remote(ssh.url(repo.path), "", SshCredential(ssh.strangers_key, ssh.known_hosts)))
    assert error.kind is ErrorKind.GIT_AUTH
    assert not asked.exists()


@pytest.mark.parametrize("name", ["http-alternates", "alternates"])
def test_where_a_remote_of_plain_files_borrows_objects_nobody_is_asked(
    repo: GitRepo, tmp_path: Path, name: str
) -> None:
    """It may name any host, this machine's own services too."""
    commit = repo.commit({"a": b"1"})
    repo.git("update-server-info")
    asked: list[str] = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Canary) as canary, plain_files(repo.path.parent) as url:
        (repo.path / "objects/info" / name).write_text(f"{canary}/other.git/objects\n../../other.git/objects\n")
        for pack in (repo.path / "objects").glob("??/*"):
            pack.unlink()
        remote = Remote(f"{url}/{repo.path.name}")
        head = remote_head(remote, LIMITS)
        assert head.commit == commit
        with pytest.raises(GitError):
            Mirror(tmp_path / "mirrors" / "m.git", remote, LIMITS).fetch(head)
    assert asked == []


def test_mirrors_are_their_owners_alone_whatever_the_umask(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit({"a": b"1"})
    before = os.umask(0)
    try:
        mirror = Mirror(tmp_path / "mirrors" / "m.git", Remote(repo.url), LIMITS)
        mirror.fetch(remote_head(mirror.remote, LIMITS))
        with mirror.reading():
            pass
    finally:
        os.umask(before)
    for folder in (mirror.path.parent, mirror.path):
        assert folder.stat().st_mode & 0o777 == 0o700
    beside = [path for path in mirror.path.parent.iterdir() if path.is_file()]
    assert beside
    assert [path for path in beside if path.stat().st_mode & 0o077] == []
    assert not (mirror.path / "hooks").exists()
