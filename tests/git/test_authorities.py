"""A CA of one's own is trusted besides the public ones, by all repositories or by one."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError, InvalidCredentialError
from syncsvc.git.authorities import check_certificates
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, HttpCredential, Remote, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.delivery.authority import Authority
from tests.git.conftest import LOCAL
from tests.git.servers import GitHttpServer
from tests.gitrepo import GitRepo


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "own"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def server(repo: GitRepo, authority: Authority) -> Iterator[GitHttpServer]:
    """Git over https, with a certificate that nobody knows the CA of."""
    server = GitHttpServer(repo.path.parent, username="robot", token="t0ken", tls=authority.server())
    yield server
    server.close()


@pytest.fixture
def public_server(repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHttpServer]:
    """Git over https, with a certificate of a CA that all of this machine trust."""
    folder = tmp_path / "public"
    folder.mkdir()
    public = Authority(folder, name="A public authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(public.file))
    server = GitHttpServer(repo.path.parent, tls=public.server())
    yield server
    server.close()


def test_a_ca_that_is_not_known_is_said_and_what_to_do(server: GitHttpServer) -> None:
    with pytest.raises(GitError, match=r"not trusted.*GIT_CA_FILE") as caught:
        remote_head(Remote(server.url("repo.git")), GitLimits(egress=LOCAL))
    assert caught.value.kind is ErrorKind.GIT_UNREACHABLE


@pytest.mark.parametrize("given", ["setting", "repository", "both"])
def test_a_ca_that_is_given_is_trusted(
    repo: GitRepo, server: GitHttpServer, authority: Authority, make_mirror: Callable[..., Mirror], given: str
) -> None:
    commit = repo.commit({"a": b"1"})
    limits = GitLimits(egress=LOCAL, ca_file=str(authority.file) if given != "repository" else "")
    remote = Remote(
        server.url("repo.git"),
        credential=HttpCredential("robot", "t0ken"),
        ca_certificate=authority.file.read_text() if given != "setting" else "",
    )
    head = remote_head(remote, limits)
    assert head == RemoteHead("main", commit)
    assert make_mirror(remote, limits=limits).fetch(head) == commit


def test_the_public_ones_are_trusted_as_well(repo: GitRepo, public_server: GitHttpServer, authority: Authority) -> None:
    commit = repo.commit({"a": b"1"})
    remote = Remote(public_server.url("repo.git"), ca_certificate=authority.file.read_text())
    assert remote_head(remote, GitLimits(egress=LOCAL, ca_file=str(authority.file))).commit == commit


def test_the_ca_of_another_repository_is_not(server: GitHttpServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(GitError, match="not trusted"):
        remote_head(
            Remote(server.url("repo.git"), ca_certificate=Authority(other, name="Another").file.read_text()),
            GitLimits(egress=LOCAL),
        )


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\xff\xfe"])
def test_a_setting_that_names_no_certificates_is_said(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(GitError, match="GIT_CA_FILE"):
        remote_head(Remote("https://git.example/a"), GitLimits(egress=LOCAL, ca_file=str(file)))


def test_certificates_are_kept_in_one_form(authority: Authority) -> None:
    text = authority.file.read_text()
    assert check_certificates(f"\n{text}\n\n") == text.strip()
    assert check_certificates(text.replace("\n", "\r\n")) == text.strip()
    assert check_certificates(text + text).count("BEGIN CERTIFICATE") == 2
    assert check_certificates(f"# our CA\n{text}") == text.strip()
    assert check_certificates(text.replace("\n", " ")) == text.strip()


def of_version(text: str, version: int) -> str:
    """A certificate that says it is of a version that there is none of."""
    content = ssl.PEM_cert_to_DER_cert(text.strip()).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01%c" % version)
    return ssl.DER_cert_to_PEM_cert(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "nonsense",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("CERTIFICATE", "PUBLIC KEY"),
        lambda text: text + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        lambda text: text + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        lambda text: text.replace("MII", "!!!"),
        lambda text: of_version(text, 4),
        lambda text: of_version(text, 74),
    ],
)
def test_what_is_no_certificate_is_refused_when_it_is_given(authority: Authority, spoil: Callable[[str], str]) -> None:
    with pytest.raises(InvalidCredentialError) as caught:
        check_certificates(spoil(authority.file.read_text()))
    assert len(str(caught.value)) > 40
