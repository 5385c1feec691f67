"""The heads of HTTP answers, read from git's own trace of its requests (GIT_TRACE_CURL)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# "<time> <file:line>   <= Recv header: <line>", and "<time> <file:line>   packet:   ls-remote< <packet>".
_HEADER = b"<= Recv header: "
_PACKET = b"ls-remote< "
_SMART = "application/x-git-upload-pack-"
_MAX_HEADERS = 200
_MAX_LINE = 4000


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
        """Seconds for which the server asks to be left alone: Retry-After, or when a used-up rate limit begins anew."""
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


class Wire:
    """What a remote has answered so far. `answer` is the last answer's head, None for a remote that is not HTTP."""

    def __init__(self) -> None:
        self.answer: HttpAnswer | None = None
        self.is_smart = False
        # What `ls-remote` was sent in git's protocol; only where GIT_TRACE_PACKET is on.
        self.packets: list[str] = []
        self._rest = b""
        self._status = 0
        self._headers: dict[str, str] = {}

    def feed(self, block: bytes) -> None:
        """Takes a piece of the trace; all but heads and packets is forgotten at once."""
        whole, _, self._rest = (self._rest + block).rpartition(b"\n")
        self._rest = self._rest[:_MAX_LINE]
        if _HEADER in whole or _PACKET in whole:  # of a long list of refs come megabytes that have neither
            for line in whole.split(b"\n"):
                before, header, text = line.partition(_HEADER)
                if header and b"<=" not in before:  # a traced body may hold what looks like a header
                    self._take(text[:_MAX_LINE].decode("latin-1").strip())
                before, packet, text = line.partition(_PACKET)
                if packet and b"packet:" in before and len(self.packets) < _MAX_HEADERS:
                    self.packets.append(text[:_MAX_LINE].decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        if status := re.match(r"HTTP/[0-9.]+ ([0-9]{3})", line):
            self._status, self._headers = int(status[1]), {}
        name, colon, value = line.partition(":")
        if colon and len(self._headers) < _MAX_HEADERS:
            self._headers[name.strip().lower()] = value.strip()
        if self._status:
            self.answer = HttpAnswer(self._status, self._headers)
            self.is_smart = self.is_smart or self.answer.is_smart


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
