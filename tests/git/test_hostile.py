"""Hostile remotes end with the kind of the limit that they exceed, within seconds, and leave nothing on the disk."""

import contextlib
import itertools
import os
import random
import resource
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError, TooLargeError
from syncsvc.git.blobs import BlobReader, open_blob
from syncsvc.git.bounds import Bounds
from syncsvc.git.environment import environment
from syncsvc.git.manifest import read_difference, read_manifest
from syncsvc.git.mirror import Mirror, bytes_of
from syncsvc.git.process import Context, GitProcess, run
from syncsvc.git.remote import Remote, remote_head
from syncsvc.types import ErrorKind, RemoteHead
from tests.git import conftest
from tests.git.hostile import (
    HostileServer,
    deep_tree,
    deflate_bomb,
    delta_bomb,
    delta_chain,
    endless_pack,
    endless_refs,
    long_names,
    nested_trees,
)
from tests.git.servers import packets, processes_with
from tests.gitrepo import GitRepo

MB = 1 << 20
BOUNDS = Bounds(memory_bytes=64 * MB, cpu_seconds=30, refs_bytes=4 * MB)
LIMITS = replace(conftest.LIMITS, timeout=60, ls_remote_timeout=60, repository_bytes=8 * MB, bounds=BOUNDS)


def of(made: tuple[str, bytes]) -> HostileServer:
    commit, pack = made
    return HostileServer(commit, lambda: [pack])


def refs(protocol: int) -> HostileServer:
    server = HostileServer()
    server.protocol, server.refs = protocol, lambda: endless_refs(server.commit)
    return server


def talk() -> HostileServer:
    server = HostileServer()
    server.progress = lambda: itertools.repeat(b"Counting objects: 1%\r" * 100)
    return server


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        pytest.param(lambda: of(delta_bomb(256)), "GIT_MEMORY_BYTES", id="a file that unfolds"),
        pytest.param(lambda: of(deflate_bomb(80)), "GIT_MEMORY_BYTES", id="a folder that unfolds"),
        pytest.param(lambda: of(long_names(1000, 100_000)), "GIT_MEMORY_BYTES", id="names"),
        pytest.param(lambda: HostileServer(pack=endless_pack), "MAX_REPOSITORY_BYTES", id="a pack without end"),
        pytest.param(lambda: refs(2), "MAX_REFS_BYTES", id="refs without end"),
        pytest.param(lambda: refs(0), "MAX_REFS_BYTES", id="refs without end, of an old server"),
        pytest.param(talk, "MAX_REFS_BYTES", id="progress without end"),
    ],
)
def test_what_is_too_large_names_its_limit_and_leaves_nothing(
    tmp_path: Path, make: Callable[[], HostileServer], limit: str
) -> None:
    server = make()
    # Whatever is met first is told: git also keeps refs in memory.
    limits = LIMITS if limit == "GIT_MEMORY_BYTES" else replace(LIMITS, bounds=replace(BOUNDS, memory_bytes=1024 * MB))
    with server.serving() as url:
        mirror = Mirror(tmp_path / "mirrors" / "m", Remote(url), limits)
        with pytest.raises(TooLargeError, match=rf"\({limit}\)\. Raise {limit}, or \w+") as caught:
            mirror.fetch(remote_head(mirror.remote, limits))
    assert (caught.value.kind, caught.value.permanent) == (ErrorKind.REPOSITORY_TOO_LARGE, True)
    assert bytes_of(mirror.path.parent) <= 8192 if mirror.path.parent.exists() else True
    assert not processes_with(f"SYNCSVC_FETCH={mirror.path}")
    assert str(tmp_path) not in str(caught.value)


def test_git_that_computes_without_end_is_ended(tmp_path: Path) -> None:
    """Each of the many versions of a file is 8 MB long, and 50 bytes in the pack."""
    with of(delta_chain(20_000)).serving() as url:
        limits = replace(LIMITS, bounds=replace(BOUNDS, cpu_seconds=1))
        mirror = Mirror(tmp_path / "mirrors" / "m", Remote(url), limits)
        with pytest.raises(TooLargeError, match="GIT_CPU_SECONDS"):
            mirror.fetch(remote_head(mirror.remote, limits))
    assert not mirror.path.exists()


def test_the_kernel_ends_git_that_computes_where_nobody_looks() -> None:
    context = Context(env={}, timeout=60, bounds=Bounds(cpu_seconds=1))
    process = GitProcess(["cat-file", "--batch"], context, talks=True)
    with process:
        deadline = time.monotonic() + 30
        while (limits := resource.prlimit(process._process.pid, resource.RLIMIT_CPU))[1] == resource.RLIM_INFINITY:
            assert time.monotonic() < deadline  # the shell that sets them may not have begun
            time.sleep(0.01)
        assert 1 < limits[0] < limits[1] < 20
        assert resource.prlimit(process._process.pid, resource.RLIMIT_CORE) == (0, 0)
    error = Bounds(cpu_seconds=1).exceeded(b"", -24, ())
    assert error is not None
    assert error.limit == "GIT_CPU_SECONDS"


@pytest.mark.parametrize(
    "said",
    [
        b"remote: fatal: Out of memory, malloc failed (tried to allocate 9 bytes)",
        b"fatal: couldn't find remote ref refs/heads/fatal: Out of memory, malloc failed",
        b"fatal: early EOF",
        b"fatal: Out of memory, malloc failed\nfatal: Could not read from remote repository.\n",
        b"fatal: write error: File too large\nfatal: the remote end hung up upon initial contact\n",
        b"remote: fatal: write error: File too large",
    ],
)
def test_nothing_is_too_large_without_a_proof(said: bytes) -> None:
    assert replace(BOUNDS, file_bytes=MB).exceeded(said, 128, ()) is None
    assert Bounds().exceeded(b"fatal: Out of memory, malloc failed", 128, ()) is None


LIES = [
    b"fatal: write error: No space left on device",
    b"fatal: Out of memory, malloc failed (tried to allocate 9 bytes)",
    b"warning: file write error: Read-only file system",
    b"fatal: write error: File too large",
    b"fatal: unable to access 'x': The requested URL returned error: 404",
    b"fatal: Authentication failed for 'x'",
]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("place", ["instead of refs", "instead of a pack", "beside a pack"])
def test_the_words_of_a_remote_are_none_of_gits(tmp_path: Path, lie: bytes, place: str) -> None:
    """A line end in its words begins a line that looks like git's own."""
    said = (
        packets(b"ERR no\n" + lie + b"\n")[:-4] if place != "beside a pack" else packets(b"\3no\n" + lie + b"\n")[:-4]
    )
    server = HostileServer()
    if place == "instead of refs":
        server.refs = lambda: [said]
    elif place == "instead of a pack":
        server.fetched = lambda *, known: iter([said])  # type: ignore[method-assign]
    else:
        before = packets(b"shallow-info\n", b"shallow " + b"1" * 40)[:-4] + b"0001" + packets(b"packfile\n")[:-4]
        server.fetched = lambda *, known: iter([before, said, b"0000"])  # type: ignore[method-assign]
    with server.serving() as url:
        mirror = Mirror(tmp_path / "mirrors" / "m", Remote(url), LIMITS)
        with pytest.raises(GitError) as caught:
            mirror.fetch(remote_head(mirror.remote, LIMITS))
    assert caught.value.kind is ErrorKind.GIT_UNREACHABLE
    assert caught.value.status is None


def test_a_git_that_ended_well_has_met_no_limit(tmp_path: Path) -> None:
    """Whatever stands on its standard error: over ssh a server's own words do."""
    words = "fatal: Out of memory, malloc failed (tried to allocate 7 bytes)"
    context = Context(env=environment({"alias.say": f"!echo '{words}' >&2"}), timeout=30, bounds=BOUNDS)
    assert run(["say"], context) == b""


def test_a_mirror_that_has_grown_is_made_anew_before_its_repository_is_too_large(repo: GitRepo, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "m", Remote(repo.url), replace(LIMITS, repository_bytes=3 * MB))
    for _ in range(4):
        head = RemoteHead("main", repo.commit({"a": random.randbytes(MB)}, replace_all=True))
        assert mirror.fetch(head) == head.commit
    assert bytes_of(mirror.path) < 3 * MB


def test_a_fetch_that_is_too_large_leaves_the_mirror_as_it_was(repo: GitRepo, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "m", Remote(repo.url), replace(LIMITS, repository_bytes=3 * MB))
    first = repo.commit({"a": b"1"})
    mirror.fetch(RemoteHead("main", first))
    before = bytes_of(mirror.path)
    for count in (5, 150):  # as loose objects, and as a pack
        files = {f"b{number}": random.randbytes(5 * MB // count) for number in range(count)}
        with pytest.raises(TooLargeError, match="MAX_REPOSITORY_BYTES"):
            mirror.fetch(RemoteHead("main", repo.commit(files, branch="main")))
        assert bytes_of(mirror.path) <= before + 16384
        assert [file.name for file in tmp_path.glob("m.*-*")] == []
    with mirror.reading():
        assert [entry.path for entry in read_manifest(mirror, first)] == [b"a"]


def test_a_file_that_does_not_fit_into_memory_is_told_as_that_and_not_as_damage(tmp_path: Path) -> None:
    """It was fetched under a higher limit."""
    with of(delta_bomb(80, others=100)).serving() as url:
        mirror = Mirror(tmp_path / "m", Remote(url), replace(LIMITS, bounds=Bounds()))
        commit = mirror.fetch(remote_head(mirror.remote, LIMITS))
    mirror.limits = LIMITS
    with mirror.reading(), BlobReader(mirror) as blobs:
        large, *_, small = read_manifest(mirror, commit)
        assert large.size == 80 * MB
        blobs.request([large.blob, small.blob])
        with pytest.raises(TooLargeError, match="GIT_MEMORY_BYTES"):
            blobs.read()
        assert len(blobs.read()) == small.size
        with open_blob(mirror, large.blob, large.size) as stream, pytest.raises(TooLargeError):
            stream.read(10)


def read_deep(folder: Path, depth: int) -> bytes:
    """The path of the one file below so many folders."""
    with of(deep_tree(depth)).serving() as url:
        mirror = Mirror(folder / "m", Remote(url), LIMITS)
        commit = mirror.fetch(remote_head(mirror.remote, LIMITS))
    with mirror.reading():
        (entry,) = read_manifest(mirror, commit)
    return entry.path


def test_deep_folders_are_read(tmp_path: Path) -> None:
    assert read_deep(tmp_path, 1000) == b"d/" * 1000 + b"a"


def test_folders_deeper_than_git_goes_are_refused(tmp_path: Path) -> None:
    """git before 2.45 has no limit: its stack ends, which it tells as missing objects of the remote."""
    with pytest.raises(GitError) as caught:
        read_deep(tmp_path, 100_000)
    assert caught.value.kind in {ErrorKind.GIT_CORRUPT, ErrorKind.REPOSITORY_TOO_LARGE}
    assert not (tmp_path / "m").exists()


def test_git_of_a_first_fetch_lets_others_go_first(repo: GitRepo, tmp_path: Path) -> None:
    """A later one does not, except in a bulk."""
    path, nices = tmp_path / "m", set[int]()

    def note() -> None:
        for pid in processes_with(f"SYNCSVC_FETCH={path}"):
            with contextlib.suppress(OSError):
                if b"\0fetch\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    nices.add(os.getpriority(os.PRIO_PROCESS, pid))

    limits = replace(LIMITS, timeout=1, interrupt=note)
    with talk().serving() as url, pytest.raises(TooLargeError):
        Mirror(path, Remote(url), limits).fetch(RemoteHead("main", "1" * 40))
    assert 10 in nices
    Mirror(path, Remote(repo.url), LIMITS).fetch(RemoteHead("main", repo.commit({"a": b"1"})))
    nices.clear()
    with talk().serving() as url, pytest.raises(TooLargeError):
        Mirror(path, Remote(url), limits).fetch(RemoteHead("main", "1" * 40))
    assert nices == {0}


def test_a_list_of_refs_is_not_copied_into_this_process(tmp_path: Path) -> None:
    """It is in the trace that git writes, and several threads may have one at a time."""
    commit = "1" * 40
    server = HostileServer(commit)
    main = packets(b"%s refs/heads/main\n" % commit.encode())[:-4]
    server.protocol, server.refs = 0, lambda: itertools.chain([main], itertools.islice(endless_refs(commit), 150))
    with server.serving() as url:
        tracemalloc.start()
        try:
            assert remote_head(Remote(url), replace(LIMITS, bounds=Bounds())) == RemoteHead("main", commit)
            assert tracemalloc.get_traced_memory()[1] < server.bytes_sent // 4
        finally:
            tracemalloc.stop()


class Stopped(Exception):
    pass


def test_a_list_of_files_without_end_is_stopped_at_the_next_look(tmp_path: Path) -> None:
    """10 ** 10 files. git keeps the differences to another commit in memory."""
    looks = itertools.count()

    def interrupt() -> None:
        if next(looks) > 1:
            raise Stopped

    with of(nested_trees()).serving() as url:
        mirror = Mirror(tmp_path / "m", Remote(url), LIMITS)
        commit = mirror.fetch(remote_head(mirror.remote, LIMITS))
    empty = mirror.run("hash-object", "-w", "-t", "tree", os.devnull).decode().strip()
    with pytest.raises(TooLargeError, match="GIT_MEMORY_BYTES"):
        list(read_difference(mirror, empty, commit))
    mirror.limits = replace(LIMITS, timeout=1, interrupt=interrupt)
    with pytest.raises(Stopped):
        for _ in read_manifest(mirror, commit):
            pass
