"""Trees that git writes by no command: both ways to plan a run accept the same ones, before its first request."""

import hashlib
import uuid
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.manifest import read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from syncsvc.models import Snapshot
from syncsvc.sync.snapshots import difference
from syncsvc.types import ErrorKind
from tests.gitrepo import GitRepo
from tests.sync.world import World

FILE, FOLDER, PADDED, MODULE = "100644", "40000", "040000", "160000"
type Entries = list[tuple[str, bytes]]
GOOD: dict[str, Entries] = {
    "in order": [(FILE, b"a"), (FILE, b"a-b"), (FOLDER, b"a.b"), (FILE, b"b")],
    "a folder after what begins like it": [(FILE, b"a-"), (FILE, b"a."), (FOLDER, b"a"), (FILE, b"a0")],
    "a module is no folder": [(MODULE, b"a"), (FILE, b"a-"), (FILE, b"b")],
    "padded modes of old gits": [(FILE, b"a-"), (PADDED, b"a"), (PADDED, b"b")],
    "names like entries": [(FILE, b"100644 a"), (FILE, b"40000 \n"), (FILE, b"\xff")],
    "nothing": [],
}
MALFORMED: dict[str, Entries] = {
    "a file twice": [(FILE, b"a"), (FILE, b"a"), (FILE, b"z")],
    "a new file twice": [(FILE, b"a"), (FILE, b"q"), (FILE, b"q"), (FILE, b"z")],
    "a file again at the end": [(FILE, b"a"), (FILE, b"b"), (FILE, b"a")],
    "out of order": [(FILE, b"z"), (FILE, b"a")],
    "a folder as if it were a file": [(FOLDER, b"a"), (FILE, b"a-"), (FILE, b"z")],
    "a file and a folder of one name": [(FILE, b"a"), (FOLDER, b"a"), (FILE, b"z")],
    "a file and a folder of one name, apart": [(FILE, b"a"), (FILE, b"a-b"), (FILE, b"a."), (FOLDER, b"a")],
    "a module and a folder of one name": [(MODULE, b"a"), (FOLDER, b"a")],
    "a folder twice": [(FOLDER, b"a"), (FOLDER, b"a")],
}


class Trees:
    """Writes objects as they are, into a repository that stands for its own mirror."""

    def __init__(self, repo: GitRepo) -> None:
        self.repo = repo
        self.mirror = Mirror(repo.path, Remote(repo.url), GitLimits(allow_local=True))
        self._blobs = [self.write("blob", text) for text in (b"1", b"2")]
        folder = self._tree([(FILE, b"x")])
        self._folders = {FOLDER: folder, PADDED: folder, MODULE: "1" * 40}

    def commit(self, entries: Entries, *, below: bool = False) -> str:
        """With this tree, or with one that has it in a folder."""
        tree = self._tree(entries, self._folders)
        if below:
            tree = self._tree([(FILE, b"above"), (FOLDER, b"dir")], {FOLDER: tree})
        by = "A U Thor <author@example.com> 1700000000 +0000"
        return self.write("commit", f"tree {tree}\nauthor {by}\ncommitter {by}\n\n{tree}\n".encode())

    def _tree(self, entries: Entries, folders: dict[str, str] | None = None) -> str:
        """A name that comes again has another content."""
        seen: list[bytes] = []
        data = b""
        for mode, name in entries:
            sha = (folders or {}).get(mode) or self._blobs[name in seen]
            seen.append(name)
            data += mode.encode() + b" " + name + b"\0" + bytes.fromhex(sha)
        return self.write("tree", data)

    def write(self, kind: str, data: bytes) -> str:
        whole = f"{kind} {len(data)}\0".encode() + data
        sha = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
        file = self.repo.path / "objects" / sha[:2] / sha[2:]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zlib.compress(whole))
        return sha

    def as_the_first(self, commit: str) -> None:
        list(read_manifest(self.mirror, commit))

    def as_the_next(self, commit: str, *, before: str) -> None:
        list(difference(uuid.uuid4(), self.mirror, before, commit) or ())


@pytest.mark.parametrize("below", [False, True], ids=["top", "below"])
@pytest.mark.parametrize("name", [*GOOD, *MALFORMED])
def test_both_planners_accept_the_same_trees(tmp_path: Path, name: str, below: bool) -> None:
    trees = Trees(GitRepo(tmp_path / "r.git"))
    before = [trees.commit(entries, below=below) for entries in ([(FILE, b"a"), (FILE, b"z")], [(FOLDER, b"a")])]
    commit = trees.commit((GOOD | MALFORMED)[name], below=below)
    ways: list[Callable[[str], None]] = [trees.as_the_first]
    ways += [partial(trees.as_the_next, before=other) for other in before]
    for plan in ways:
        if name in GOOD:
            plan(commit)
        else:
            with pytest.raises(GitError, match="twice or out of order") as caught:
                plan(commit)
            assert (caught.value.kind, caught.value.at_remote) == (ErrorKind.GIT_CORRUPT, True)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_trees_of_either_hash_are_checked(tmp_path: Path, object_format: str) -> None:
    repo = GitRepo(tmp_path / "r", object_format=object_format)
    old, new = repo.commit({"a/b": b"1"}), repo.commit({"a/b": b"23", "c": b"3"})
    found = difference(uuid.uuid4(), Mirror(repo.path, Remote(repo.url), GitLimits()), old, new)
    assert found is not None
    assert [(change.path, old_size, size) for change, old_size, size in found] == [(b"a/b", 1, 2), (b"c", 0, 1)]


@pytest.mark.parametrize("name", ["a new file twice", "out of order"])
def test_a_malformed_tree_that_comes_second_is_refused_before_anything_is_sent(world: World, name: str) -> None:
    """A path that was sent twice once ended in a database error, after deletes had gone out."""
    world.repo.commit({"a": b"1", "other": b"2"})
    assert world.run().outcome == "synced"
    requests = len(world.receiver.requests)
    world.repo.git("update-ref", "refs/heads/main", Trees(world.repo).commit(MALFORMED[name]))
    run = world.run()
    assert (run.outcome, run.error_kind, run.requests) == ("postponed", "git_corrupt", 0)
    assert len(world.receiver.requests) == requests
    assert Snapshot.objects.count() == 1

    world.repo.commit({"a": b"3"}, replace_all=True, orphan=True)
    assert world.run().outcome == "synced"
    assert set(world.client().files) == {b"a"}
