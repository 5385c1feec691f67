import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.manifest import PATH_BEGINNING, blob_sizes, read_difference, read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import Remote, remote_head
from syncsvc.sync.selection import MAX_PATH_BYTES
from syncsvc.types import ErrorKind, ManifestEntry, TreeChange
from tests.git.conftest import LIMITS
from tests.git.servers import processes_with
from tests.gitrepo import Content, Executable, GitRepo, Submodule, Symlink, TreeEntry

type MakeMirror = Callable[..., Mirror]

ODD_FILES: dict[str | bytes, Content] = {
    "plain.txt": b"text\n",
    "crlf.txt": b"a\r\nb\r\n",
    "empty": b"",
    "binary": bytes(range(256)),
    "tool.sh": Executable(b"#!/bin/sh\n"),
    "link": Symlink(b"../../etc/passwd"),
    "module": Submodule("1" * 40),
    "dir/with spaces/a b": b"1",
    "quo\"te's\\back": b"2",
    "new\nline\ttab": b"3",
    "émoji-😀": b"4",
    b"latin1-\xe9\xff\xfe": b"5",
    "%FF": b"6",
    "a": b"7",
    "a-b": b"8",
    "a.b/c": b"9",
    " leading": b"10",
    "-dash": b"11",
    ":(glob)x": b"12",
    b"\x01\x7f": b"13",
}


def fetched(repo: GitRepo, mirror: Mirror) -> str:
    return mirror.fetch(remote_head(Remote(repo.url), LIMITS))


def files_of(mirror: Mirror, old: str, new: str) -> list[TreeChange]:
    return [change for change in read_difference(mirror, old, new) if not change.is_folder]


def as_tree(entries: list[ManifestEntry]) -> dict[bytes, TreeEntry]:
    return {entry.path: TreeEntry(entry.mode, entry.blob, entry.size) for entry in entries}


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_every_path_that_git_can_hold_comes_as_it_is(tmp_path: Path, object_format: str) -> None:
    repo = GitRepo(tmp_path / "r", object_format=object_format)
    files = ODD_FILES | ({} if object_format == "sha1" else {"module": Submodule("1" * 64)})
    commit = repo.commit(files)
    mirror = Mirror(tmp_path / "m", Remote(repo.url), LIMITS)
    assert fetched(repo, mirror) == commit
    entries = list(read_manifest(mirror, commit))
    assert as_tree(entries) == repo.ls_tree()
    assert len(entries) == len(ODD_FILES)
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    submodule = next(entry for entry in entries if entry.path == b"module")
    assert (submodule.mode, submodule.size) == ("160000", 0)


def test_names_that_only_mktree_lets_through(repo: GitRepo, make_mirror: MakeMirror) -> None:
    blob = repo.blob(b"x")
    inner = repo.mktree([("100644", blob, b".."), ("100644", blob, b"\xff" * 300), ("100644", blob, b"n" * 5000)])
    tree = repo.mktree([("040000", inner, b"d" * 300), ("100644", blob, b".git")])
    commit = repo.commit_tree(tree)
    mirror = make_mirror()
    fetched(repo, mirror)
    paths = [entry.path for entry in read_manifest(mirror, commit)]
    assert paths == [b".git", b"d" * 300 + b"/..", b"d" * 300 + b"/" + b"n" * 5000, b"d" * 300 + b"/" + b"\xff" * 300]


def test_differences_lead_from_any_tree_to_any_other(repo: GitRepo, make_mirror: MakeMirror) -> None:
    chance = random.Random(7)
    names = ["a", "a-", "a.b", "a/b", "a/b/c", "a0", "b", "b/a", "b-/x", "B"]
    mirror = make_mirror()
    commits = []
    for _ in range(25):
        wanted = chance.sample(names, chance.randrange(len(names)))
        files: dict[str | bytes, Content] = {
            name: _content(chance) for name in wanted if not any(f"{name}/" in f"{x}/" for x in wanted if x != name)
        }
        commits.append(repo.commit(files, replace_all=True))
        fetched(repo, mirror)
    for _ in range(60):
        old, new = chance.choice(commits), chance.choice(commits)
        changes = files_of(mirror, old, new)
        before, after = repo.ls_tree(old), repo.ls_tree(new)
        paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        assert changes == [TreeChange(path, *_meta(before.get(path)), *_meta(after.get(path))) for path in paths]


def test_a_rename_is_a_deletion_and_a_creation(repo: GitRepo, make_mirror: MakeMirror) -> None:
    content = b"the same text in both\n" * 50
    mirror = make_mirror()
    old = repo.commit({"old": content})
    fetched(repo, mirror)
    new = repo.commit({"old": None, "new": content})
    fetched(repo, mirror)
    assert [(c.path, c.old_mode, c.mode) for c in files_of(mirror, old, new)] == [
        (b"new", None, "100644"),
        (b"old", "100644", None),
    ]


def test_fifty_thousand_entries_pass_through_little_memory(repo: GitRepo, make_mirror: MakeMirror) -> None:
    mirror = make_mirror()
    empty = repo.commit({})
    fetched(repo, mirror)
    commit = repo.commit({f"folder{i % 100}/file{i}": b"%d" % (i % 10) for i in range(50_000)})
    fetched(repo, mirror)
    tracemalloc.start()
    assert sum(1 for _ in read_manifest(mirror, commit)) == 50_000
    assert sum(1 for change in read_difference(mirror, empty, commit) if not change.is_folder) == 50_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 1024 * 1024


def test_long_paths_pass_through_little_memory(repo: GitRepo, make_mirror: MakeMirror) -> None:
    """The name of a folder of 1 MB stands once in the repository, and in the path of each file. Each file's path begins
    with the one before."""
    mirror = make_mirror()
    empty = repo.commit({})
    fetched(repo, mirror)
    blob, names = repo.blob(b"x"), [b"a" * length for length in range(1, 101)]
    inner = repo.mktree([("100644", blob, name) for name in names])
    commit = repo.commit_tree(repo.mktree([("040000", inner, b"d" * 1_000_000)]))
    fetched(repo, mirror)
    tracemalloc.start()
    paths = [entry.path for entry in read_manifest(mirror, commit)]
    assert paths == [c.path for c in read_difference(mirror, empty, commit) if not c.is_folder]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert paths == [b"d" * PATH_BEGINNING] * 100
    assert peak < 16 * 1024 * 1024
    assert MAX_PATH_BYTES < PATH_BEGINNING


# Of each the search for a next entry would take hours, during which nothing else of the process runs.
HOSTILE_NAMES = [b"7" * 500_000 + b"/", b"7 " * 250_000 + b"/", b"7" * 500_000]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("beside", [0, 80_000])
def test_hostile_bytes_of_a_tree_are_read_once(
    repo: GitRepo, make_mirror: MakeMirror, name: bytes, beside: int
) -> None:
    """`beside` entries make the tree so large that it is read in pieces."""
    blob = bytes.fromhex(repo.blob(b"x"))
    others = b"".join(b"100644 %06d\0" % number + blob for number in range(beside))
    content = others + b"100644 " + name + b"\0" + blob
    tree = repo.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=content).decode().strip()
    mirror = make_mirror()
    repo.commit_tree(tree)
    fetched(repo, mirror)
    if b"/" not in name:
        assert list(blob_sizes(mirror, [], trees=[tree])) == []
        return
    with pytest.raises(GitError, match="malformed"):
        list(blob_sizes(mirror, [], trees=[tree]))


def test_a_list_that_is_not_read_to_its_end_leaves_no_process(repo: GitRepo, make_mirror: MakeMirror) -> None:
    commit = repo.commit({f"{'long' * 20}/{i}": b"" for i in range(20_000)})
    mirror = make_mirror()
    fetched(repo, mirror)
    entries = read_manifest(mirror, commit)
    next(entries)
    assert processes_with(f"GIT_DIR={mirror.path}")
    entries.close()  # type: ignore[attr-defined]
    assert not processes_with(f"GIT_DIR={mirror.path}")


def test_a_missing_subtree_is_no_end_of_the_list(repo: GitRepo, make_mirror: MakeMirror) -> None:
    old = repo.commit({})
    mirror = make_mirror()
    fetched(repo, mirror)
    commit = repo.commit({"a/1": b"1", "b/2": b"2", "c/3": b"3"})
    fetched(repo, mirror)
    tree = repo.rev(f"{commit}:b")
    (mirror.path / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(GitError) as caught:
        list(read_manifest(mirror, commit))
    assert caught.value.kind is ErrorKind.GIT_CORRUPT
    with pytest.raises(GitError) as caught:
        list(read_difference(mirror, old, commit))
    assert caught.value.kind is ErrorKind.GIT_CORRUPT


def test_a_missing_blob_is_told_although_git_goes_on(repo: GitRepo, make_mirror: MakeMirror) -> None:
    commit = repo.commit({"a": b"1", "b": b"2"})
    mirror = make_mirror()
    fetched(repo, mirror)
    blob = repo.ls_tree()[b"a"].sha
    (mirror.path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError) as caught:
        list(read_manifest(mirror, commit))
    assert caught.value.kind is ErrorKind.GIT_CORRUPT
    with pytest.raises(GitError):
        list(blob_sizes(mirror, [blob]))


def test_an_unknown_commit_is_no_empty_list(repo: GitRepo, make_mirror: MakeMirror) -> None:
    commit = repo.commit({"a": b"1"})
    mirror = make_mirror()
    fetched(repo, mirror)
    for read in (
        lambda: list(read_manifest(mirror, "1" * 40)),
        lambda: list(read_difference(mirror, commit, "1" * 40)),
    ):
        with pytest.raises(GitError) as caught:
            read()
        assert caught.value.kind is ErrorKind.GIT_CORRUPT


def test_a_malformed_tree_is_refused(repo: GitRepo, make_mirror: MakeMirror) -> None:
    blob = bytes.fromhex(repo.blob(b"x"))
    twice = b"100644 a\0" + blob + b"100644 a\0" + blob
    tree = repo.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=twice).decode().strip()
    commit = repo.commit_tree(tree)
    mirror = make_mirror()
    fetched(repo, mirror)
    with pytest.raises(GitError, match="twice or out of order"):
        list(read_manifest(mirror, commit))


def test_sizes_come_in_the_order_asked_however_many(repo: GitRepo, make_mirror: MakeMirror) -> None:
    repo.commit({f"f{i}": b"x" * i for i in range(1500)})
    mirror = make_mirror()
    fetched(repo, mirror)
    entries = list(repo.ls_tree().values())
    random.Random(8).shuffle(entries)
    assert list(blob_sizes(mirror, (entry.sha for entry in entries))) == [entry.size for entry in entries]
    assert list(blob_sizes(mirror, [])) == []


def _content(chance: random.Random) -> Content:
    data = b"%d" % chance.randrange(3)
    module = Submodule(str(chance.randrange(1, 4)) * 40)
    choices: list[Content] = [data, data, Executable(data), Symlink(data), module]
    return chance.choice(choices)


def _meta(entry: TreeEntry | None) -> tuple[str | None, str | None]:
    return (entry.mode, entry.sha) if entry else (None, None)
