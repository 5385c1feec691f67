import hashlib
import os
import random
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.blobs import BlobReader, BlobStream, open_blob
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import Remote, remote_head
from syncsvc.types import ErrorKind
from tests.git.conftest import LIMITS
from tests.gitrepo import GitRepo

type MakeMirror = Callable[..., Mirror]


def fetched(repo: GitRepo, mirror: Mirror) -> str:
    return mirror.fetch(remote_head(Remote(repo.url), LIMITS))


def commit_contents(repo: GitRepo, mirror: Mirror, contents: list[bytes]) -> list[str]:
    """Their shas, in order, in a mirror that holds each as a file of its own."""
    commit = repo.commit({f"f{i:05}": content for i, content in enumerate(contents)})
    fetched(repo, mirror)
    return [entry.sha for _, entry in sorted(repo.ls_tree(commit).items())]


def read_all(stream: BlobStream) -> None:
    while not stream.verified:
        stream.read(300_000)


def damage(mirror: Mirror, blob: str) -> None:
    file = mirror.path / "objects" / blob[:2] / blob[2:]
    file.chmod(0o600)
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    file.write_bytes(data)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_contents_come_in_the_order_asked(tmp_path: Path, object_format: str) -> None:
    repo = GitRepo(tmp_path / "r", object_format=object_format)
    mirror = Mirror(tmp_path / "m", Remote(repo.url), LIMITS)
    contents = [b"", b"\n", b"a\r\n", b"\0" * 1000, "é😀".encode(), b"x" * 70_000, b"100644 blob \n"]
    blobs = commit_contents(repo, mirror, contents)
    wanted = [*blobs, *reversed(blobs), blobs[0], blobs[0]]
    with BlobReader(mirror) as reader:
        reader.request(wanted)
        assert [reader.read() for _ in wanted] == [*contents, *reversed(contents), b"", b""]


def test_groups_asked_ahead_never_block(repo: GitRepo, make_mirror: MakeMirror) -> None:
    noise = random.Random(1)
    contents = [noise.randbytes(noise.choice([0, 10, 4096, 300_000])) for _ in range(600)]
    mirror = make_mirror()
    blobs = commit_contents(repo, mirror, contents)
    with BlobReader(mirror) as reader:
        for start in range(0, 600, 50):  # far more than the pipes hold, before the first is read
            reader.request(blobs[start : start + 50])
        reader.read()
        for _ in range(5):
            reader.request(blobs)
        assert [reader.read() for _ in range(599)] == contents[1:]


@pytest.mark.parametrize("bad", [0, 3, 9])
@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_bad_blob_fails_alone(repo: GitRepo, make_mirror: MakeMirror, bad: int, harm: str) -> None:
    noise = random.Random(2)
    contents = [noise.randbytes(5000) for _ in range(10)]
    mirror = make_mirror()
    blobs = commit_contents(repo, mirror, contents)
    if harm == "missing":
        (mirror.path / "objects" / blobs[bad][:2] / blobs[bad][2:]).unlink()
    else:
        damage(mirror, blobs[bad])
    with BlobReader(mirror) as reader:
        reader.request(blobs[:5])
        reader.request(blobs[5:])
        for i, content in enumerate(contents):
            if i == bad:
                with pytest.raises(GitError, match="missing or damaged") as caught:
                    reader.read()
                assert caught.value.kind is ErrorKind.GIT_CORRUPT
            else:
                assert reader.read() == content
        reader.request(blobs[1:2])
        assert reader.read() == contents[1]


def test_a_blob_whose_bytes_are_others_is_not_passed_on(repo: GitRepo, make_mirror: MakeMirror) -> None:
    mirror = make_mirror()
    blobs = commit_contents(repo, mirror, [b"one", b"two"])
    one, two = (mirror.path / "objects" / blob[:2] / blob[2:] for blob in blobs)
    one.chmod(0o600)
    one.write_bytes(two.read_bytes())
    with BlobReader(mirror) as reader:
        reader.request(blobs)
        with pytest.raises(GitError, match="missing or damaged"):
            reader.read()
        assert reader.read() == b"two"
    stream = open_blob(mirror, blobs[0], 3)
    with stream, pytest.raises(GitError):
        stream.read(10)
    assert not stream.verified


def test_a_git_that_is_killed_costs_one_read(repo: GitRepo, make_mirror: MakeMirror) -> None:
    noise = random.Random(3)
    contents = [noise.randbytes(200_000) for _ in range(20)]
    mirror = make_mirror()
    blobs = commit_contents(repo, mirror, contents)
    with BlobReader(mirror) as reader:
        reader.request(blobs)
        assert reader.read() == contents[0]
        os.kill(reader._process._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        outcomes: list[bool | ErrorKind] = []
        for content in contents[1:]:
            try:
                outcomes.append(reader.read() == content)
            except GitError as error:
                outcomes.append(error.kind)
        assert outcomes.count(ErrorKind.INTERNAL) == 1
        assert outcomes.count(True) == 18


def test_a_reader_that_is_left_early_leaves_no_process(repo: GitRepo, make_mirror: MakeMirror) -> None:
    mirror = make_mirror()
    blobs = commit_contents(repo, mirror, [b"x" * 100_000, b"y"])
    with BlobReader(mirror) as reader:
        reader.request(blobs)
        reader.read()
        pid = reader._process._process.pid  # type: ignore[union-attr]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_big_blob_comes_in_exact_pieces_and_is_verified_with_its_last(tmp_path: Path, object_format: str) -> None:
    repo = GitRepo(tmp_path / "r", object_format=object_format)
    mirror = Mirror(tmp_path / "m", Remote(repo.url), LIMITS)
    content = random.Random(4).randbytes(1_000_000)
    (blob,) = commit_contents(repo, mirror, [content])
    with open_blob(mirror, blob, len(content)) as stream:
        pieces = []
        while not stream.verified:
            pieces.append(stream.read(300_000))
            assert stream.verified == (len(pieces) == 4)
        assert stream.read(10) == b""
    assert [len(piece) for piece in pieces] == [300_000, 300_000, 300_000, 100_000]
    assert b"".join(pieces) == content
    assert stream.sha256 == hashlib.sha256(content).hexdigest()


def test_an_empty_blob_is_verified_by_its_first_read(repo: GitRepo, make_mirror: MakeMirror) -> None:
    mirror = make_mirror()
    (blob,) = commit_contents(repo, mirror, [b""])
    with open_blob(mirror, blob, 0) as stream:
        assert stream.read(10) == b""
        assert stream.verified


@pytest.mark.parametrize("announced", [999_999, 1_000_001, 5])
def test_a_big_blob_of_another_size_than_announced_is_not_verified(
    repo: GitRepo, make_mirror: MakeMirror, announced: int
) -> None:
    mirror = make_mirror()
    (blob,) = commit_contents(repo, mirror, [b"z" * 1_000_000])
    with open_blob(mirror, blob, announced) as stream, pytest.raises(GitError) as caught:
        read_all(stream)
    assert caught.value.kind is ErrorKind.GIT_CORRUPT
    assert not stream.verified


def test_a_big_blob_that_is_missing_or_damaged(repo: GitRepo, make_mirror: MakeMirror) -> None:
    noise = random.Random(5)
    mirror = make_mirror()
    blobs = commit_contents(repo, mirror, [noise.randbytes(1_000_000), noise.randbytes(1_000_000)])
    damage(mirror, blobs[0])
    (mirror.path / "objects" / blobs[1][:2] / blobs[1][2:]).unlink()
    for blob in blobs:
        with open_blob(mirror, blob, 1_000_000) as stream, pytest.raises(GitError) as caught:
            read_all(stream)
        assert caught.value.kind is ErrorKind.GIT_CORRUPT
        assert not stream.verified


def test_memory_is_bounded_by_a_piece(repo: GitRepo, make_mirror: MakeMirror) -> None:
    content = os.urandom(1_000_000) * 20
    mirror = make_mirror()
    (blob,) = commit_contents(repo, mirror, [content])
    size, digest = len(content), hashlib.sha256(content).hexdigest()
    del content
    tracemalloc.start()
    with open_blob(mirror, blob, size) as stream:
        while not stream.verified:
            stream.read(512 * 1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.sha256 == digest
    assert peak < 4 * 1024 * 1024
