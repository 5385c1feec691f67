"""What git traces of itself: the heads of HTTP answers (GIT_TRACE_CURL), and its complaints (GIT_TRACE2_EVENT)."""

import contextlib
import json
import mmap
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO

# "<time> <file:line>   <= Recv header: <line>", and "<time> <file:line>   packet:   ls-remote< <packet>".
_HEADER = b"<= Recv header: "
_PACKET = b"ls-remote< "
# A line that is one JSON document; nothing else that is traced begins so.
_EVENT = b"{"
_COMPLAINT = b'{"event":"error",'
_SMART = "application/x-git-upload-pack-"
_MAX_LINES = 2000
_MAX_LINE = 4000
_MAX_COMPLAINT = 256 * 1024
# As much as the list of millions of refs.
MAX_TRACE = 512 * 1024**2


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status and headers; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_smart(self) -> bool:
        """True for an answer in git's own protocol, and not a page or a file."""
        return self.headers.get("content-type", "").startswith(_SMART)

    @property
    def is_page(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/html")

    @property
    def retry_after(self) -> float | None:
        """Seconds for which the server asks to be left alone: Retry-After, or until a used-up rate limit is reset."""
        given = self.headers.get("retry-after", "").strip()
        if given.isdecimal():
            return float(given)
        if given:
            return self._seconds_until(_http_date(given))
        return self._rate_limit_reset() if self.is_out_of_calls else None

    @property
    def is_out_of_calls(self) -> bool:
        """The rate limit's headers, as GitHub and GitLab write them, say that nothing is left."""
        return "0" in (self.headers.get("x-ratelimit-remaining"), self.headers.get("ratelimit-remaining"))

    def _rate_limit_reset(self) -> float | None:
        reset = self.headers.get("x-ratelimit-reset") or self.headers.get("ratelimit-reset") or ""
        return (
            self._seconds_until(datetime.fromtimestamp(int(reset), UTC)) if re.fullmatch("[0-9]{1,11}", reset) else None
        )

    def _seconds_until(self, moment: datetime | None) -> float | None:
        """By the server's own clock, where it tells the time."""
        now = _http_date(self.headers.get("date", "")) or datetime.now(UTC)
        return max(0.0, (moment - now).total_seconds()) if moment else None


class Trace:
    """A file in memory that git and its helpers write their traces to: nobody has to read it while they run."""

    def __init__(self, variables: Sequence[str]) -> None:
        self._file = _memory() if variables else None
        self._variables = variables

    @property
    def environment(self) -> dict[str, str]:
        # git takes a path, or a number below 10.
        return dict.fromkeys(self._variables, f"/dev/fd/{self._file.fileno()}") if self._file else {}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What git must inherit."""
        return (self._file.fileno(),) if self._file else ()

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size if self._file else 0

    def read(self) -> "Wire":
        if not self._file or not self.size():
            return Wire(b"")
        # Mapped, not copied: a long list of refs is large, and many threads may have one.
        with mmap.mmap(self._file.fileno(), self.size(), access=mmap.ACCESS_READ) as trace:
            return Wire(trace)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


class Wire:
    """Answers of a remote. `answer` is the head of the last one, None for a remote that is not HTTP.

    `packets` are the ones that `ls-remote` received in git's protocol, where they are traced. `complaints` are git's
    own, each a text of any number of lines, without `fatal: ` or `error: `.
    """

    def __init__(self, trace: bytes | mmap.mmap) -> None:
        self.answer: HttpAnswer | None = None
        self.complaints = _complaints(trace)
        self.packets = [text.decode("utf-8", "replace") for text in _lines(trace, _PACKET, b"packet:")]
        for text in _lines(trace, _HEADER, b""):
            self._take(text.decode("latin-1").strip())

    def _take(self, line: str) -> None:
        if status := re.match(r"HTTP/[0-9.]+ ([0-9]{3})", line):
            self.answer = HttpAnswer(int(status[1]), {})
        name, colon, value = line.partition(":")
        if colon and self.answer:
            self.answer = HttpAnswer(self.answer.status, {**self.answer.headers, name.strip().lower(): value.strip()})


def _lines(trace: bytes | mmap.mmap, marker: bytes, before: bytes) -> list[bytes]:
    """What follows the marker in the lines that begin with it, but for git's time, place and `before`."""
    found: list[bytes] = []
    position = trace.find(marker)
    while position >= 0 and len(found) < _MAX_LINES:
        begin, end = trace.rfind(b"\n", 0, position) + 1, trace.find(b"\n", position)
        end = end if end >= 0 else len(trace)
        head, text = trace[begin:position][:_MAX_LINE], position + len(marker)
        # A traced body, and a complaint that quotes the remote, may hold what looks like a header.
        if b"<=" not in head and before in head and not head.startswith(_EVENT):
            found.append(trace[text : min(end, text + _MAX_LINE)])
        position = trace.find(marker, end)
    return found


def _complaints(trace: bytes | mmap.mmap) -> list[str]:
    found: list[str] = []
    begin = 0 if trace[: len(_COMPLAINT)] == _COMPLAINT else _next_complaint(trace, 0)
    while begin >= 0 and len(found) < _MAX_LINES:
        end = trace.find(b"\n", begin)
        end = end if end >= 0 else len(trace)
        with contextlib.suppress(ValueError, KeyError):  # it was cut off
            found.append(str(json.loads(trace[begin : min(end, begin + _MAX_COMPLAINT)])["msg"]))
        begin = _next_complaint(trace, end)
    return found


def _next_complaint(trace: bytes | mmap.mmap, after: int) -> int:
    """Where it begins; -1 for none."""
    line_end = trace.find(b"\n" + _COMPLAINT, after)
    return line_end + 1 if line_end >= 0 else -1


def _memory() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("git-trace"), "rb", buffering=0)
    return tempfile.TemporaryFile()


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
