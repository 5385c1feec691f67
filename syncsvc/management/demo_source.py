"""The repository that the demo shows: this checkout, or another that was named."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.url import check_url
from syncsvc.management.supervisor import StartError
from syncsvc.types import ManifestEntry

ANOTHER = "Name another repository: make demo REPO=<url or path> BRANCH=<branch>"


class GitFailedError(Exception):
    """A plain git of the demo's own failed; what it said."""


@dataclass(frozen=True, slots=True)
class Source:
    """`branch` blank: the branch that HEAD is on."""

    url: str
    branch: str = ""

    @property
    def folder(self) -> Path | None:
        """Where it lies, if it is on this machine."""
        if self.url.startswith("file://"):
            return Path(unquote(self.url.removeprefix("file://")))
        return Path(self.url) if self.url.startswith("/") else None


def find_source(repo: str | None, branch: str | None, *, checkout: Path) -> Source:
    """StartError says what to do where there is no repository to show."""
    if repo is None:
        source = _local(checkout)
        return Source(source.url, branch or _current_branch(checkout))
    if (folder := Path(repo).expanduser()).exists():
        return Source(_local(folder.resolve()).url, branch or "")
    try:
        return Source(check_url(repo, allow_local=True), branch or "")
    except InvalidUrlError as error:
        raise StartError(f"{repo} is no folder here, and no URL that can be used. {error}") from None


def manifest_of(folder: Path, commit: str) -> Iterator[ManifestEntry]:
    """What a plain `git ls-tree` says of a commit; a submodule has size 0."""
    for record in _git(folder, "ls-tree", "-r", "-z", "-l", "--full-tree", commit).split(b"\0")[:-1]:
        described, path = record.split(b"\t", 1)
        mode, _, blob, size = described.decode("ascii").split()
        yield ManifestEntry(path, mode, blob, 0 if size == "-" else int(size))


@contextmanager
def repository_with(source: Source, commit: str) -> Iterator[Path]:
    """A folder where git has this commit: the source itself, or what is fetched from it for the length of a `with`."""
    if source.folder:
        yield source.folder
        return
    with tempfile.TemporaryDirectory(prefix="syncsvc-demo-") as name:
        folder = Path(name)
        object_format = "sha256" if len(commit) == 64 else "sha1"
        _git(folder, "init", "--quiet", "--bare", f"--object-format={object_format}", ".")
        _git(folder, "fetch", "--quiet", "--depth=1", source.url, commit)
        yield folder


def _local(folder: Path) -> Source:
    try:
        _git(folder, "rev-parse", "--git-dir")
        top = _git(folder, "rev-parse", "--show-prefix").strip()
    except GitFailedError:
        raise StartError(f"{folder} is no git repository. {ANOTHER}") from None
    if top:
        raise StartError(f"{folder} is no git repository of its own, but a folder in one. {ANOTHER}")
    try:
        _git(folder, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    except GitFailedError:
        raise StartError(f"{folder} has no commit on its current branch: commit something. {ANOTHER}") from None
    quoted = quote(str(folder))
    return Source(str(folder) if quoted == str(folder) else f"file://{quoted}")


def _current_branch(folder: Path) -> str:
    try:
        return _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD").decode().strip()
    except GitFailedError:  # on no branch: HEAD itself is followed
        return ""


def _git(folder: Path, *arguments: str) -> bytes:
    # Nothing of a git that may have started us (a hook) leaks into this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command: Sequence[str] = ("git", "-c", "safe.directory=*", "-C", str(folder), *arguments)
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise GitFailedError(done.stderr.decode("utf-8", "replace").strip())
    return done.stdout
