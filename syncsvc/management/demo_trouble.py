"""The demo's receiver on a bad day: the example receiver, with a gate before it that spoils what comes.

python -m syncsvc.management.demo_trouble examples/receiver/receiver.py --port … --secret-file … --store …
"""

import argparse
import asyncio
import base64
import importlib.util
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Seconds since the first file, each phase after the one before; then only the rejected files are left.
THROTTLES, CRAWLS, HICCUPS = 12.0, 20.0, 20.0
A_SECOND = 40
CRAWL_SECONDS = 2.0
# Of the requests of the third phase: every fiftieth, from the seventh on; a reset is rarer.
HICCUP_EVERY, HICCUP_FIRST = 50, 7
RESET_EVERY, RESET_FIRST = 97, 11
# By the order in which paths come for the first time: the answer that this one always gets.
REJECTED = {2: 422, 13: 500, 34: 422}


class Spoiled(NamedTuple):
    """What happens to a request. `status` 0: the receiver answers it, after `delay` seconds, unless it is reset."""

    status: int = 0
    retry_after: int = 0
    delay: float = 0
    resets: bool = False


class Trouble:
    """What the endpoint does, when. `scale` stretches the phases; `counts` says what it did so far."""

    def __init__(self, scale: float = 1) -> None:
        self.counts: Counter[str] = Counter()
        self.rejected: dict[bytes, int] = {}
        self._paths: set[bytes] = set()
        self._scale = scale
        self._since: float | None = None
        self._second, self._in_second, self._in_hiccups = 0, 0, 0

    def meets(self, paths: Sequence[bytes], now: float) -> Spoiled:
        """`paths` are those of one request; what is about no file passes."""
        if not paths:
            return Spoiled()
        self._since = now if self._since is None else self._since
        seconds = (now - self._since) / self._scale
        throttles, crawls = seconds < THROTTLES, THROTTLES <= seconds < THROTTLES + CRAWLS
        if throttles and self._is_too_many(now):
            self.counts["throttled"] += 1
            return Spoiled(status=429, retry_after=1 + self.counts["throttled"] % 2)
        if status := self._rejects(paths):
            self.counts["rejected"] += 1
            return Spoiled(status=status)
        if crawls:
            self.counts["slow"] += 1
            return Spoiled(delay=CRAWL_SECONDS)
        if THROTTLES + CRAWLS <= seconds < THROTTLES + CRAWLS + HICCUPS:
            return self._hiccup()
        return Spoiled()

    def _is_too_many(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        self._in_second += 1
        return self._in_second > A_SECOND

    def _rejects(self, paths: Sequence[bytes]) -> int:
        for path in paths:
            if len(self._paths) < max(REJECTED) and path not in self._paths:
                self._paths.add(path)
                if status := REJECTED.get(len(self._paths)):
                    self.rejected[path] = status
        return next((self.rejected[path] for path in paths if path in self.rejected), 0)

    def _hiccup(self) -> Spoiled:
        self._in_hiccups += 1
        if self._in_hiccups % HICCUP_EVERY == HICCUP_FIRST:
            self.counts["unavailable"] += 1
            return Spoiled(status=503)
        if self._in_hiccups % RESET_EVERY == RESET_FIRST:
            self.counts["reset"] += 1
            return Spoiled(resets=True)
        return Spoiled()


class Gate:
    """Stands where the receiver's `webhook` and `status` stood."""

    def __init__(self, receiver: Any, trouble: Trouble) -> None:
        self._webhook: Callable[[Any, dict[str, str], bytes], None] = receiver.webhook
        self._status: Callable[[], dict[str, Any]] = receiver.status
        self._trouble = trouble

    def webhook(self, connection: Any, headers: dict[str, str], body: bytes) -> None:
        loop = asyncio.get_running_loop()
        spoiled = self._trouble.meets(paths_of(body), loop.time())
        if spoiled.resets:
            connection.transport.abort()
        elif spoiled.status:
            wait = f"Retry-After: {spoiled.retry_after}\r\n" if spoiled.retry_after else ""
            connection.answer(spoiled.status, b"the demo makes trouble\n", headers=wait)
        elif spoiled.delay:
            loop.call_later(spoiled.delay, self._webhook, connection, headers, body)
        else:
            self._webhook(connection, headers, body)

    def status(self) -> dict[str, Any]:
        rejected = {base64.b64encode(path).decode(): status for path, status in self._trouble.rejected.items()}
        status, counts = self._status(), self._trouble.counts
        refused = sum(counts[name] for name in ("throttled", "rejected", "unavailable"))
        return {**status, "rejected": status["rejected"] + refused, "trouble": dict(counts), "rejects": rejected}


def paths_of(body: bytes) -> list[bytes]:
    """The paths that a message is about, in its order."""
    try:
        data = json.loads(body)["data"]
        files = [item["file"] for item in data["files"]] if "files" in data else [data["file"]]
        return [_path(file) for file in files]
    except (ValueError, KeyError, TypeError):
        return []  # the receiver says what is wrong with it


def _path(file: dict[str, Any]) -> bytes:
    return base64.b64decode(file["path_base64"]) if file.get("path_base64") else str(file["path"]).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description="The example receiver, with trouble.")
    parser.add_argument("program", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    try:
        program = _loaded(options.program)
        program.REASONS |= {429: "Too Many Requests", 500: "Internal Server Error"}
        receiver = program.Receiver(program.Store(options.store, fsync=False), options.secret_file)
        gate = Gate(receiver, Trouble(options.scale))
        receiver.webhook, receiver.status = gate.webhook, gate.status
        asyncio.run(program.serve(receiver, "127.0.0.1", options.port))
    except (OSError, ValueError, sqlite3.Error) as error:
        print(f"receiver: cannot start: {error}", file=sys.stderr)
        return 2
    return 0


def _loaded(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location("receiver", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no program of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
