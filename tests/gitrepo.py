"""Real git repositories for tests: any path git can hold, made fast enough for 100,000 files."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

_ENV = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "A U Thor",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "A U Thor",
    "GIT_COMMITTER_EMAIL": "author@example.com",
}


@dataclass(frozen=True, slots=True)
class Symlink:
    target: bytes


@dataclass(frozen=True, slots=True)
class Executable:
    content: bytes


@dataclass(frozen=True, slots=True)
class Submodule:
    commit: str


type Content = bytes | Symlink | Executable | Submodule | None  # None deletes


class TreeEntry(NamedTuple):
    mode: str
    sha: str
    size: int  # 0 for a submodule


class GitRepo:
    """A bare repository with a history that tests write; `str(repo.path)` and `repo.url` are its remotes' URLs."""

    def __init__(self, path: Path, *, branch: str = "main", object_format: str = "sha1") -> None:
        self.path = path
        self.branch = branch
        if not (path / "HEAD").exists():
            shutil.copytree(_empty(branch, object_format), path, dirs_exist_ok=True)

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    @property
    def head(self) -> str:
        return self.rev(f"refs/heads/{self.branch}")

    def git(self, *args: str, data: bytes = b"") -> bytes:
        return self._run("git", "-C", str(self.path), *args, data=data)

    def rev(self, name: str) -> str:
        loose = self.path / name
        if name.startswith("refs/") and loose.is_file():  # as git would, and a process less
            return loose.read_text().strip()
        return self.git("rev-parse", "--verify", name).decode().strip()

    def commit(
        self,
        files: Mapping[str | bytes, Content],
        *,
        branch: str = "",
        message: str = "a change",
        replace_all: bool = False,
        orphan: bool = False,
    ) -> str:
        """Commits on the branch and returns the sha; `replace_all` empties the tree first, `orphan` the history."""
        ref = f"refs/heads/{branch or self.branch}"
        stream = [_commit_head(ref, message, None if orphan else self._tip(ref))]
        if replace_all or orphan:
            stream.append(b"deleteall\n")
        stream += [_file_command(_raw(path), content) for path, content in files.items()]
        self.git("fast-import", "--quiet", "--force", "--date-format=now", data=b"".join(stream) + b"\ndone\n")
        return self.rev(ref)

    def commit_tree(self, tree: str, *, branch: str = "", message: str = "a tree") -> str:
        """Commits a tree made with `mktree`: for names that no other way of writing a tree lets through."""
        ref = f"refs/heads/{branch or self.branch}"
        tip = self._tip(ref)
        parents = ["-p", tip] if tip else []
        sha = self.git("commit-tree", tree, *parents, "-m", message).decode().strip()
        self.git("update-ref", ref, sha)
        return sha

    def mktree(self, entries: Iterable[tuple[str, str, bytes]]) -> str:
        """A tree of (mode, sha, name) entries, one level; the sha of a submodule needs not exist."""
        kinds = {"040000": "tree", "160000": "commit"}
        lines = [f"{mode} {kinds.get(mode, 'blob')} {sha}\t".encode() + name + b"\0" for mode, sha, name in entries]
        return self.git("mktree", "-z", "--missing", data=b"".join(lines)).decode().strip()

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=content).decode().strip()

    def ls_tree(self, commit: str = "") -> dict[bytes, TreeEntry]:
        entries: dict[bytes, TreeEntry] = {}
        for record in self.git("ls-tree", "-r", "-z", "-l", commit or self.head).split(b"\0")[:-1]:
            meta, path = record.split(b"\t", 1)
            mode, _, sha, size = meta.decode().split()
            entries[path] = TreeEntry(mode, sha, 0 if size == "-" else int(size))
        return entries

    def content(self, sha: str) -> bytes:
        return self.git("cat-file", "blob", sha)

    def files(self, commit: str = "") -> dict[bytes, tuple[str, bytes]]:
        """What an app should hold: (mode, content) of each path, submodules left out."""
        entries = {path: entry for path, entry in self.ls_tree(commit).items() if entry.mode != "160000"}
        contents = self._contents([entry.sha for entry in entries.values()])
        return {path: (entry.mode, content) for (path, entry), content in zip(entries.items(), contents, strict=True)}

    def _contents(self, shas: Sequence[str]) -> Iterator[bytes]:
        found = self.git("cat-file", "--batch=%(objectsize)", data="".join(f"{sha}\n" for sha in shas).encode())
        position = 0
        for _ in shas:
            size, begin = int(found[position : (end := found.index(b"\n", position))]), end + 1
            position = begin + size + 1
            yield found[begin : begin + size]

    def _tip(self, ref: str) -> str | None:
        if (loose := self.path / ref).is_file():
            return loose.read_text().strip()
        return self.git("for-each-ref", "--format=%(objectname)", ref).decode().strip() or None

    @staticmethod
    def _run(*args: str, data: bytes = b"") -> bytes:
        done = subprocess.run(args, input=data, capture_output=True, env=_ENV, check=False)
        assert done.returncode == 0, f"{args}: {done.stderr.decode(errors='replace')}"
        return done.stdout


@cache
def _empty(branch: str, object_format: str) -> Path:
    """A new repository to copy: made once, since each process of git takes as long as some tests."""
    folder = tempfile.mkdtemp(prefix="syncsvc-empty-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    GitRepo._run("git", "init", "-q", "--bare", "--template=", "-b", branch, f"--object-format={object_format}", folder)
    return Path(folder)


def _raw(path: str | bytes) -> bytes:
    return path.encode() if isinstance(path, str) else path


def _commit_head(ref: str, message: str, parent: str | None) -> bytes:
    text = message.encode()
    head = (
        f"feature done\nreset {ref}\n"  # a reset without `from` forgets the branch: `from` below says where it goes on
    )
    head += f"commit {ref}\ncommitter A U Thor <author@example.com> now\ndata {len(text)}\n"
    return head.encode() + text + b"\n" + (f"from {parent}\n".encode() if parent else b"")


def _quoted(path: bytes) -> bytes:
    return (
        b'"'
        + b"".join(b"\\%03o" % byte if byte < 33 or byte > 126 or byte in b'"\\' else b"%c" % byte for byte in path)
        + b'"'
    )


def _file_command(path: bytes, content: Content) -> bytes:
    match content:
        case None:
            return b"D " + _quoted(path) + b"\n"
        case Submodule(commit):
            return b"M 160000 " + commit.encode() + b" " + _quoted(path) + b"\n"
        case Symlink(data):
            mode = b"120000"
        case Executable(data):
            mode = b"100755"
        case bytes() as data:
            mode = b"100644"
    return b"M " + mode + b" inline " + _quoted(path) + b"\ndata %d\n" % len(data) + data + b"\n"
