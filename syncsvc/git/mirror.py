"""A repository's mirror on this worker's disk: bare, shallow, shared by all runs, a cache that is rebuilt at will."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from syncsvc.error_kinds import POLICIES
from syncsvc.exceptions import GitError, MirrorBusyError
from syncsvc.git.leftovers import FETCH_MARK, remove_leftovers
from syncsvc.git.locks import locked
from syncsvc.git.process import Context, GitProcess, environment, run
from syncsvc.git.remote import DETACHED, GitLimits, Remote, access
from syncsvc.types import CommitInfo, ErrorKind, RemoteHead

_PINS = "refs/syncsvc/commits"
_FETCHED = "refs/syncsvc/fetched"
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_PACKS = 20


class Mirror:
    """Two lock files beside the mirror say who may do what.

    `<path>.fetch` is held by the one that fetches. `<path>.lock` is held shared by all who read or write objects, and
    exclusive by the one that replaces, maintains or evicts. Whoever wants both takes the fetch lock first.
    """

    def __init__(self, path: Path, remote: Remote, limits: GitLimits) -> None:
        self.path = path.absolute()  # git is started elsewhere, and orphans are known by it
        self.remote = remote
        self.limits = limits
        self._seen: str | None = None
        # By this object, and not by another run that was waited for.
        self.has_fetched = False

    def fetch(self, head: RemoteHead, *, wait: float = 1.0) -> str:
        """Makes sure that the branch's files are here and returns the commit that was taken in, pinned.

        If `head.commit` is here, no git is started; else the branch is fetched as it is now, which may be newer.
        MirrorBusyError: another run fetches, or the mirror must be replaced while others read it.
        """
        commit = _wanted(head)
        if self.has_commit(commit):
            return commit
        with locked(self._fetch_lock, wait=wait) as descriptor:
            if self.has_commit(commit):
                return commit
            with _marked(descriptor, self.path):
                taken = self._update(head, commit, wait)
                self.has_fetched = True
                return taken

    def heal(self, head: RemoteHead, *, wait: float = 1.0) -> str:
        """Rebuilds a mirror whose objects turned out damaged or missing; not to be called while reading it.

        If another run has replaced it since this object last read it, this is a `fetch`.
        """
        commit = _wanted(head)
        with locked(self._fetch_lock, wait=wait) as descriptor, _marked(descriptor, self.path):
            if self._seen is not None and self._generation() not in {None, self._seen} and self.has_commit(commit):
                return commit
            return self._replace(head, commit, wait)

    @contextlib.contextmanager
    def reading(self, *, wait: float = 1.0) -> Iterator[None]:
        """Keeps the mirror from being replaced, pruned or evicted; ask `has_commit` inside: it may just have been."""
        with locked(self._lock, shared=True, wait=wait) as descriptor:
            os.utime(descriptor)
            self._seen = self._generation()
            yield

    def has_commit(self, commit: str) -> bool:
        """True where the commit was taken in whole and is pinned; reads one small file."""
        try:
            return (self.path / _PINS / commit).read_text(encoding="ascii").strip() == commit
        except (OSError, ValueError):
            return self._has_packed(commit)

    def pins(self) -> int:
        """How many commits it keeps."""
        with contextlib.suppress(OSError):
            return len(os.listdir(self.path / _PINS))
        return 0

    def commit_info(self, commit: str) -> CommitInfo:
        tree = self.run("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}").decode().strip()
        return CommitInfo(commit, tree)

    def maintain(self, keep: Collection[str]) -> bool:
        """Forgets commits that are not in `keep` and frees their space; False if the mirror is in use or missing."""
        with contextlib.suppress(MirrorBusyError), locked(self._fetch_lock) as descriptor, locked(self._lock):
            if not self.path.is_dir():
                return False
            with _marked(descriptor, self.path):
                self._tidy(set(keep))
            return True
        return False

    def start(self, *arguments: str, talks: bool = False) -> GitProcess:
        """A git that reads this mirror as a stream; what it complains of is the mirror's state."""
        return GitProcess(arguments, self._context(ErrorKind.GIT_CORRUPT), talks=talks)

    def run(self, *arguments: str) -> bytes:
        return run(arguments, self._context(ErrorKind.GIT_CORRUPT))

    def _context(self, otherwise: ErrorKind = ErrorKind.INTERNAL, *, writes: bool = False) -> Context:
        env = environment({}, git_dir=self.path) | ({FETCH_MARK: str(self.path)} if writes else {})
        hide = (str(self.path), str(self.path.parent))
        return Context(env, self.limits.timeout, hide, otherwise, self.limits.nice)

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def _fetch_lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.fetch")

    def _update(self, head: RemoteHead, commit: str, wait: float) -> str:
        if self._format() != _format_of(commit):  # missing, or the remote was made anew with another hash
            return self._replace(head, commit, wait)
        try:
            with self.reading(wait=wait):
                return self._fetch_into(self.path, head)
        except GitError as error:
            if not POLICIES[error.kind].suspects_mirror:
                raise
        return self._replace(head, commit, wait)

    def _replace(self, head: RemoteHead, commit: str, wait: float) -> str:
        """A new mirror is made beside and put in place when it is whole; readers of the old one are waited for."""
        new = self._beside("new")
        try:
            self._init(new, _format_of(commit))
            taken = self._fetch_into(new, head)
            with locked(self._lock, wait=wait):
                _swap(new, self.path, self._beside("old"))
            return taken
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _init(self, path: Path, object_format: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)  # repositories may be private, and what git writes is readable to all
        arguments = ["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(path)]
        run(arguments, self._context(writes=True))

    def _fetch_into(self, path: Path, head: RemoteHead) -> str:
        fetched = path / _FETCHED
        fetched.unlink(missing_ok=True)
        source = "HEAD" if head.branch in {"", DETACHED} else f"refs/heads/{head.branch}"
        with access(self.remote, self.limits, timeout=self.limits.timeout, git_dir=path) as (context, options):
            arguments = ["fetch", "--quiet", "--depth=1", "--no-tags", "--force", "--no-write-fetch-head"]
            arguments += [*options, "--", self.remote.url, f"{source}:{_FETCHED}"]
            run(arguments, replace(context, env={**context.env, FETCH_MARK: str(self.path)}))
        commit = fetched.read_text(encoding="ascii").strip()
        if not _SHA.fullmatch(commit):
            raise GitError(
                ErrorKind.GIT_CORRUPT, "git left no readable commit in the mirror; the next run rebuilds it."
            )
        (path / _PINS).mkdir(parents=True, exist_ok=True)
        fetched.rename(path / _PINS / commit)
        return commit

    def _tidy(self, keep: set[str]) -> None:
        pins = {file.name: file for file in (self.path / _PINS).glob("*")}
        dropped = [file for commit, file in pins.items() if commit not in keep]
        for file in dropped:
            file.unlink(missing_ok=True)
        (self.path / _FETCHED).unlink(missing_ok=True)
        if dropped or len(list(self.path.glob("objects/pack/*.pack"))) > _MAX_PACKS:
            for arguments in (["repack", "-a", "-d", "-q"], ["prune", "--expire=now"]):
                run(arguments, self._context(ErrorKind.GIT_CORRUPT, writes=True))

    def _has_packed(self, commit: str) -> bool:
        if not (self.path / "packed-refs").exists() or not _SHA.fullmatch(commit):
            return False
        with contextlib.suppress(GitError):
            return (
                self.run("rev-parse", "--verify", "--quiet", f"{_PINS}/{commit}^{{commit}}").decode().strip() == commit
            )
        return False

    def _format(self) -> str | None:
        try:
            text = (self.path / "config").read_text(encoding="utf-8", errors="replace").lower()
        except OSError:
            return None
        return "sha256" if re.search(r"objectformat\s*=\s*sha256", text) else "sha1"

    def _generation(self) -> str | None:
        """Differs from that of the mirror that stood here before."""
        with contextlib.suppress(OSError):
            status = (self.path / "HEAD").stat()
            return f"{status.st_ino}.{status.st_mtime_ns}"
        return None

    def _beside(self, word: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{word}-{secrets.token_hex(4)}")


def evict(root: Path, max_bytes: int) -> list[str]:
    """Removes the least recently used mirrors until the rest fit; returns their names. One in use stays."""
    mirrors = [path for path in root.glob("*") if path.is_dir() and (path / "HEAD").is_file()]
    sizes = {path: _bytes_of(path) for path in mirrors if ".new-" not in path.name and ".old-" not in path.name}
    total, evicted = sum(sizes.values()), list[str]()
    for path in sorted(sizes, key=_last_used):
        if total <= max_bytes:
            break
        if _remove(path):
            total -= sizes[path]
            evicted.append(path.name)
    return evicted


def _remove(path: Path) -> bool:
    with contextlib.suppress(MirrorBusyError, FileNotFoundError), locked(path.with_name(f"{path.name}.lock")):
        away = path.with_name(f"{path.name}.old-{secrets.token_hex(4)}")
        path.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        return True
    return False


def _last_used(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.with_name(f"{path.name}.lock").stat().st_mtime
    return 0


def _bytes_of(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def _wanted(head: RemoteHead) -> str:
    if head.commit is None:
        raise GitError(ErrorKind.GIT_NOT_FOUND, "The remote has no commits yet; push one.")
    return head.commit


def _format_of(commit: str) -> str:
    return "sha256" if len(commit) == 64 else "sha1"


def _swap(new: Path, path: Path, old: Path) -> None:
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _marked(descriptor: int, mirror: Path) -> Iterator[None]:
    """The lock file is empty except while its holder writes; found full, the last holder was killed at it."""
    if os.fstat(descriptor).st_size:
        remove_leftovers(mirror)
    else:
        os.write(descriptor, b"writing\n")
    yield
    os.ftruncate(descriptor, 0)
