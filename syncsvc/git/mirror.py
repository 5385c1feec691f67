"""A repository's mirror on this worker's disk: bare, shallow, shared by all runs, a cache that is rebuilt at will."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from syncsvc.error_kinds import POLICIES
from syncsvc.exceptions import GitError, MirrorBusyError, TooLargeError
from syncsvc.git.bounds import REPOSITORY_LIMIT, too_many_bytes
from syncsvc.git.disk import make_folder, own_disk
from syncsvc.git.environment import environment
from syncsvc.git.errors import NoShallowError, at_remote
from syncsvc.git.leftovers import FETCH_MARK, remove_leftovers
from syncsvc.git.locks import locked
from syncsvc.git.plan_time import PlanTime
from syncsvc.git.process import Context, GitProcess, run
from syncsvc.git.remote import GitLimits, Remote, access
from syncsvc.types import CommitInfo, ErrorKind, RemoteHead

_PINS = "refs/syncsvc/commits"
_FETCHED = "refs/syncsvc/fetched"
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_PACKS = 20
# The git of a first fetch lets others go first: how much it will take is not known.
_FIRST_NICE = 10
_WRITING = b"writing\n"
_TOO_LARGE = (
    "The remote gives no commit without its history, and with it the repository has {bytes:,} bytes or more, over the"
    " limit of {limit:,}"
)


class Mirror:
    """Two lock files beside the mirror say who may do what.

    `<path>.fetch` is held by the one that fetches. `<path>.lock` is held shared by all who read or write objects, and
    exclusive by the one that replaces, maintains or evicts. Whoever wants both takes the fetch lock first.
    """

    def __init__(self, path: Path, remote: Remote, limits: GitLimits) -> None:
        self.path = path.absolute()  # git is started elsewhere, and orphans are known by it
        self.remote = remote
        self.limits = limits
        # Of all reading for a plan; each object of this class is one run's.
        self.plan_time = PlanTime(limits.plan_seconds)
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
            with own_disk(self.path.parent):
                os.utime(descriptor)
            self._seen = self._generation()
            yield

    def check(self) -> None:
        """Raises where the run must end, or has spent its time for planning; called once a second while git reads."""
        if self.limits.interrupt is not None:
            self.limits.interrupt()
        self.plan_time.check()

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
        folder = str(self.path.parent)
        limits = self.limits
        return Context(
            env,
            limits.timeout,
            hide,
            otherwise,
            limits.nice,
            folder=folder,
            interrupt=self.check,
            bounds=replace(limits.bounds, refs_bytes=0),
        )

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def _fetch_lock(self) -> Path:
        return self.path.with_name(f"{self.path.name}.fetch")

    def _update(self, head: RemoteHead, commit: str, wait: float) -> str:
        if self._format() != _format_of(commit):  # missing, or the remote was made anew with another hash
            return self._replace(head, commit, wait)
        packs = self._packs()
        try:
            with self.reading(wait=wait):
                return self._fetch_into(self.path, head)
        except TooLargeError as error:
            self._drop_unfinished(packs)
            if error.limit != REPOSITORY_LIMIT:  # a mirror that has grown may fit once it is made anew
                raise
        except GitError as error:
            if not POLICIES[error.kind].suspects_mirror or error.at_remote:
                raise
            if self._is_sound():  # then what is damaged is the remote, and a new mirror would have no more of it
                raise at_remote(error) from error
        return self._replace(head, commit, wait)

    def _packs(self) -> set[Path]:
        return set(self.path.glob("objects/pack/*"))

    def _drop_unfinished(self, packs: set[Path]) -> None:
        """Removes what a fetch wrote that was ended: packs that are not among `packs`, and loose objects."""
        with own_disk(self.path.parent):
            (self.path / _FETCHED).unlink(missing_ok=True)
            for file in self._packs() - packs:
                file.unlink(missing_ok=True)
        with contextlib.suppress(MirrorBusyError, GitError), locked(self._lock):
            run(["prune", "--expire=now"], self._context(writes=True))

    def _replace(self, head: RemoteHead, commit: str, wait: float) -> str:
        """A new mirror is made beside and put in place when it is whole; readers of the old one are waited for."""
        new = self._beside("new")
        try:
            self._init(new, _format_of(commit))
            taken = self._fetch_into(new, head, is_first=True)
            with locked(self._lock, wait=wait), own_disk(self.path.parent):
                _swap(new, self.path, self._beside("old"))
            return taken
        except GitError as error:  # there was nothing yet that could have been damaged
            raise at_remote(error) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _is_sound(self) -> bool:
        """Reads all that the mirror's commits lead to, but not the content of files."""
        try:
            self.run("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        except GitError as error:
            return not POLICIES[error.kind].suspects_mirror
        return True

    def _init(self, path: Path, object_format: str) -> None:
        with own_disk(path.parent):
            make_folder(path.parent)
            path.mkdir(mode=0o700)  # repositories may be private, and what git writes is readable to all
        arguments = ["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(path)]
        run(arguments, self._context(writes=True))

    def _fetch_into(self, path: Path, head: RemoteHead, *, is_first: bool = False) -> str:
        fetched = path / _FETCHED
        with own_disk(path.parent):
            fetched.unlink(missing_ok=True)
        try:
            self._run_fetch(path, head, shallow=True, is_first=is_first)
        except NoShallowError:
            self._run_fetch(path, head, shallow=False, is_first=is_first)
        with own_disk(path.parent):
            commit = fetched.read_text(encoding="ascii", errors="replace").strip() if fetched.is_file() else ""
            if not _SHA.fullmatch(commit):
                raise GitError(
                    ErrorKind.GIT_CORRUPT, "git left no readable commit in the mirror; the next run rebuilds it."
                )
            (path / _PINS).mkdir(parents=True, exist_ok=True)
            fetched.rename(path / _PINS / commit)
        return commit

    def _run_fetch(self, path: Path, head: RemoteHead, *, shallow: bool, is_first: bool) -> None:
        source = f"refs/heads/{head.branch}" if head.branch else "HEAD"
        with access(self.remote, self.limits, timeout=self.limits.timeout, git_dir=path) as granted:
            arguments = ["fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head"]
            arguments += ["--depth=1"] if shallow else []
            check = partial(self._check_size, path, shallow=shallow)

            def adjusted(context: Context) -> Context:
                nice = max(context.nice, _FIRST_NICE) if is_first else context.nice
                return replace(context, env={**context.env, FETCH_MARK: str(self.path)}, nice=nice, check=check)

            granted.ask(arguments, f"{source}:{_FETCHED}", adjusted=adjusted)
            check()

    def _check_size(self, path: Path, *, shallow: bool) -> None:
        limits, taken = self.limits, bytes_of(path)
        if not shallow and taken > limits.full_fetch_bytes:
            raise TooLargeError(
                _TOO_LARGE.format(bytes=taken, limit=limits.full_fetch_bytes),
                limit="GIT_FULL_FETCH_MAX_BYTES",
                otherwise="serve the repository by a newer git",
            )
        if limits.repository_bytes and taken > limits.repository_bytes:
            raise too_many_bytes(taken, limits.repository_bytes)

    def _tidy(self, keep: set[str]) -> None:
        pins = {file.name: file for file in (self.path / _PINS).glob("*")}
        dropped = [file for commit, file in pins.items() if commit not in keep]
        with own_disk(self.path.parent):
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


def bytes_of(path: Path) -> int:
    """What a folder takes on disk."""
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
    """While its holder writes the lock file says so; found like that, the last holder was killed at it.

    Else it says how many bytes the mirror takes, so that all mirrors can be added up without a look into each.
    """
    with own_disk(mirror.parent):
        if os.pread(descriptor, len(_WRITING), 0).startswith(_WRITING[:1]):
            remove_leftovers(mirror)
        _note(descriptor, _WRITING)
    try:
        yield
    except TooLargeError:  # anything else that was left half-written is removed by the next one
        remove_leftovers(mirror)
        _note(descriptor, b"%d\n" % bytes_of(mirror))
        raise
    with own_disk(mirror.parent):
        _note(descriptor, b"%d\n" % bytes_of(mirror))


def _note(descriptor: int, text: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text, 0)
