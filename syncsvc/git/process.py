"""Starting git, through GitPython, with settings that are ours alone, a time limit, and no process left behind."""

import contextlib
import fcntl
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from subprocess import PIPE, Popen
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self

from syncsvc.exceptions import GitError
from syncsvc.git.bounds import Bounds, too_many_refs, too_much_time
from syncsvc.git.complaints import BROKEN_OFF
from syncsvc.git.errors import attributed, git_error
from syncsvc.git.launch import command_line
from syncsvc.git.life import bytes_moved, bytes_read_before_objects, cpu_seconds
from syncsvc.git.wire import MAX_TRACE, Trace, Wire
from syncsvc.types import ErrorKind

if TYPE_CHECKING:
    from git import Git

# A call that shows signs of life is ended all the same after so many times its limit of silence.
PATIENCE = 12
_BLOCK = 1 << 20
_MAX_STDERR = 16 * 1024
# How often is looked whether a git that says nothing reads and writes: in seconds, and at least so often in its limit.
_LOOK_SECONDS = 1.0
_LOOKS = 4
_REST = 5  # The pause after a look, in times of its length: a mirror of a million files is not looked at in a moment.


@dataclass(frozen=True, slots=True)
class Context:
    """What a git is started in. `hide` are secrets and paths that no error may show.

    `timeout` is the longest silence in seconds, and `setting` the name of the setting that holds it.
    `otherwise` is the kind of a failure that git tells in words that are not known here. `url` is that of the remote
    that is asked, `folder` the one that is written to, `proxy` host and port of the proxy on the way. `aliases` are
    addresses, each with the host that errors name in its place. `traces` are the variables that have git tell what goes
    over the wire. `check` and `interrupt` are called once a second while git is at work, or four times within `timeout`
    where that is shorter; they may raise, which ends git. `bounds` are the limits of git's processes.
    """

    env: Mapping[str, str] = field(repr=False)
    timeout: float
    hide: Sequence[str] = field(default=(), repr=False)
    otherwise: ErrorKind = ErrorKind.INTERNAL
    nice: int = 0
    setting: str = "GIT_TIMEOUT"
    url: str = field(default="", repr=False)
    aliases: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    proxy: str = ""
    traces: Sequence[str] = ()
    check: Callable[[], None] | None = None
    interrupt: Callable[[], None] | None = None
    bounds: Bounds = field(default_factory=Bounds)


class Finished(NamedTuple):
    output: bytes
    wire: Wire


def run(arguments: Sequence[str], context: Context) -> bytes:
    """git's output, which must be small, when it has ended well within the time limit."""
    return ask(arguments, context).output


def ask(arguments: Sequence[str], context: Context) -> Finished:
    """The same with what the remote answered; `context.traces` says of which protocols that is told."""
    deadline = time.monotonic() + PATIENCE * context.timeout
    with GitProcess(arguments, context) as process:
        output = bytearray()
        while block := process.read_some(deadline):
            output += block
            if len(output) > _BLOCK:
                raise _too_much(f"git {arguments[0]}")
        process.finish(deadline)
        return Finished(bytes(output), process.wire)


def _too_much(name: str) -> GitError:
    return GitError(ErrorKind.GIT_UNREACHABLE, f"{name} was answered with far more than expected; check the remote.")


class GitProcess:
    """A running git whose pipes never block each other: what is to be written goes out while reading waits.

    The time limit is for each wait for a sign of life (output, an exchange with the remote, bytes that git reads or
    writes), not for the whole: a stream may be read as slowly as its reader likes.
    """

    def __init__(self, arguments: Sequence[str], context: Context, *, talks: bool = False) -> None:
        self._name = f"git {arguments[0]}"
        self._context = context
        self._stderr = b""
        self._data = b""
        self._position = 0
        self._outgoing = b""
        self._moved, self._looked_at = 0.0, 0.0
        self._look_seconds = min(_LOOK_SECONDS, context.timeout / _LOOKS)
        self._bounds_at = time.monotonic() + self._look_seconds  # nothing is to be seen before
        self._has_objects = False
        self._trace = Trace(context.traces)
        try:
            self._handle, self._process = _start(arguments, context, self._trace, talks=talks)
        except BaseException:
            self._trace.close()
            raise
        if context.nice:
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PGRP, self._process.pid, context.nice)
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None  # noqa: S101 - GitPython always opens both
        assert stderr is not None  # noqa: S101
        self._out, self._err = stdout.fileno(), stderr.fileno()
        self._in = self._process.stdin.fileno() if self._process.stdin else -1
        self._open = {self._out, self._err}
        for pipe in (*self._open, *([self._in] if talks else [])):
            os.set_blocking(pipe, False)
        _widen(self._out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def wire(self) -> Wire:
        """What the remote has answered, as far as `context.traces` has it told."""
        return self._trace.read()

    @property
    def exit_code(self) -> int:
        """What git ended with by itself; 0 while it runs or if a signal ended it."""
        return max(0, self._process.returncode or 0)

    @property
    def ended_by(self) -> int:
        """The number of the signal that ended git; 0 while it runs, and if it ended by itself."""
        return max(0, -(self._process.returncode or 0))

    def write(self, data: bytes) -> None:
        """Never blocks: what git does not take now is written while reading."""
        self._outgoing += data
        self._write_some()

    def read_some(self, deadline: float | None = None) -> bytes:
        """The next block of git's output; empty at its end, which `finish` must confirm."""
        if self._position < len(self._data):
            block, self._data, self._position = self._data[self._position :], b"", 0
            return block
        return self._read(deadline)

    def read_line(self) -> bytes:
        """Up to a line end, without it; what is left, if git ended before."""
        end = self._data.find(b"\n", self._position)
        while end < 0:
            block = self._read(None)
            if not block:
                return self.read_exactly(len(self._data) - self._position)
            self._data, self._position = self._data[self._position :] + block, 0
            end = self._data.find(b"\n")
        line = self._data[self._position : end]
        self._position = end + 1
        return line

    def read_exactly(self, size: int) -> bytes:
        """`size` bytes; fewer only if git ended before."""
        end = self._position + size
        if end <= len(self._data):
            data = self._data[self._position : end]
            self._position = end
            return data
        blocks = [self._data[self._position :]]
        missing = end - len(self._data)
        self._data, self._position = b"", 0
        while missing > 0 and (block := self._read(None)):
            blocks.append(block[:missing])
            if len(block) > missing:
                self._data, self._position = block, missing
            missing -= len(blocks[-1])
        return b"".join(blocks)

    def finish(self, deadline: float | None = None) -> None:
        """Waits for git to end; raises what it says if it did not end well. A stream is whole only after this."""
        while self._open:
            self._wait(deadline)
            self._listen()
            self._discard_output()
        self._process.wait()
        if not self._process.returncode:
            return
        context, wire = self._context, self.wire
        stderr = attributed(self._stderr, wire.complaints)
        if exceeded := context.bounds.exceeded(stderr, self._process.returncode, context.hide):
            raise exceeded
        if self._process.returncode == -signal.SIGPIPE and context.url:
            raise GitError(ErrorKind.GIT_UNREACHABLE, BROKEN_OFF)  # it wrote to a remote that had hung up
        if self._process.returncode < 0:
            raise GitError(
                ErrorKind.INTERNAL, f"{self._name} was ended by signal {-self._process.returncode}; it is tried again."
            )
        raise git_error(
            stderr,
            context.hide,
            otherwise=context.otherwise,
            url=context.url,
            aliases=context.aliases,
            folder=context.folder,
            answer=wire.answer,
            setting=context.setting,
            proxy=context.proxy,
        )

    def kill(self) -> None:
        """Ends git and all that it started; harmless if it has ended."""
        if self._process.returncode is None:  # not reaped yet, so that the group's number is still ours
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._trace.close()
        self._open.clear()

    def _read(self, deadline: float | None) -> bytes:
        while self._out in self._open:
            self._check()
            try:
                block = os.read(self._out, _BLOCK)
            except BlockingIOError:
                self._wait(deadline)
                self._listen()
                self._write_some()
                continue
            if not block:
                self._open.discard(self._out)
            return block
        return b""

    def _wait(self, deadline: float | None) -> None:
        """Returns at a sign of life."""
        poll = select.poll()
        for pipe in self._open:
            poll.register(pipe, select.POLLIN)
        if self._outgoing:
            poll.register(self._in, select.POLLOUT)
        timeout = self._context.timeout
        silent_at = time.monotonic() + timeout
        while True:
            self._check()
            left = min(silent_at, math.inf if deadline is None else deadline) - time.monotonic()
            if left <= 0:
                self._time_out(is_silent=time.monotonic() >= silent_at)
            if poll.poll(1000 * min(left, self._look_seconds)):
                return
            before, self._moved = self._moved, self._signs_of_life()
            if self._moved != before:
                silent_at = time.monotonic() + timeout

    def _signs_of_life(self) -> float:
        """Differs from the one before where git was at work meanwhile.

        A git that asks a remote may be busy and get nowhere; one that reads a mirror waits for nobody but the disk, so
        that its CPU time counts: folders in folders that hold no file are read for long without a word.
        """
        signs: float = bytes_moved(self._process.pid) + self._trace.size()
        return signs if self._context.url else signs + cpu_seconds(self._process.pid)

    def _check(self) -> None:
        if time.monotonic() < self._looked_at + self._look_seconds:
            return
        began = self._looked_at = time.monotonic()
        if self._context.interrupt is not None:
            self._context.interrupt()
        if began >= self._bounds_at:
            self._check_bounds()
            self._bounds_at = time.monotonic() + _REST * (time.monotonic() - began)
        if self._trace.size() > MAX_TRACE:
            raise _too_much(self._name)

    def _check_bounds(self) -> None:
        if self._context.check is not None:
            self._context.check()
        bounds = self._context.bounds
        if bounds.cpu_seconds and cpu_seconds(self._process.pid) > bounds.cpu_seconds:
            raise too_much_time(bounds.cpu_seconds)
        if bounds.refs_bytes and not self._has_objects:
            self._check_refs(bounds.refs_bytes)

    def _check_refs(self, limit: int) -> None:
        read = bytes_read_before_objects(self._process.pid)
        if read is None:
            self._has_objects = True
        # What is traced takes more room than what was read. Nothing else tells of refs over http's older protocols.
        elif (talk := max(read, self._trace.size() // 2)) > limit:
            raise too_many_refs(talk, limit)

    def _time_out(self, *, is_silent: bool) -> NoReturn:
        self.kill()
        timeout, setting = self._context.timeout, self._context.setting
        if is_silent:
            text = f"{self._name} gave no sign of life for longer than {timeout:g} s ({setting}) and was ended"
        else:
            text = (
                f"{self._name} was ended after {PATIENCE * timeout:g} s though data still came;"
                f" that is {PATIENCE} times {setting}, which can be raised for a remote this slow"
            )
        raise GitError(ErrorKind.GIT_TIMEOUT, f"{text}; it is tried again.")

    def _write_some(self) -> None:
        if self._outgoing:
            try:
                self._outgoing = self._outgoing[os.write(self._in, self._outgoing) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:  # git has ended; reading finds out why
                self._outgoing = b""

    def _listen(self) -> None:
        """What git says beside its output. The end of it counts most: progress comes first, complaints last."""
        if self._err not in self._open:
            return
        # Once, and not until there is no more: a remote may talk without end, and limits must be looked at.
        with contextlib.suppress(BlockingIOError):
            if not (block := os.read(self._err, _BLOCK)):
                self._open.discard(self._err)
            self._stderr = (self._stderr + block)[-_MAX_STDERR:]

    def _discard_output(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self._out in self._open and not os.read(self._out, _BLOCK):
                self._open.discard(self._out)


def _widen(pipe: int) -> None:
    """Lets git run ahead by a block; at a pipe's usual 64 KiB, every 16 files wait for git to be woken."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # an unprivileged user has used up what the kernel allows
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _BLOCK)


@cache
def _gitpython() -> "type[Git]":
    """Imported not before it is needed: who starts no git (the web, most commands) would wait for it.

    Its import would ask git for the version, in all of our environment; it is told of a git that is not there.
    """
    told = {"GIT_PYTHON_GIT_EXECUTABLE": "/nonexistent/git", "GIT_PYTHON_REFRESH": "quiet"}
    os.environ.update(told)
    try:
        from git import Git
    finally:
        for name in told:  # other programs that this process starts know GitPython, too
            os.environ.pop(name, None)
    return Git


def _start(
    arguments: Sequence[str], context: Context, trace: Trace, *, talks: bool
) -> "tuple[Git.AutoInterrupt, Popen[bytes]]":
    git = _gitpython()
    from git.exc import GitCommandNotFound

    env = {**context.env, **trace.environment}
    try:
        handle = git("/").execute(
            command_line(arguments, env, context.bounds),
            as_process=True,
            istream=PIPE if talks else None,
            env=env,
            start_new_session=True,
            pass_fds=trace.descriptors,
        )
    except GitCommandNotFound:
        raise GitError(ErrorKind.INTERNAL, "sh is not installed on this worker; install a POSIX shell.") from None
    process = handle.proc
    assert process is not None  # noqa: S101 - it has just been started
    return handle, process
