"""The addresses of a host's name, asked for without waiting longer than the caller may."""

import queue
import socket
import threading
import time
from collections.abc import Callable

type Lookup = Callable[[str, int], list[str]]

_LOOK_SECONDS = 0.5


class UnknownHostError(Exception):
    """The name has no address, or its name server did not tell it in time."""


def system_lookup(host: str, port: int) -> list[str]:
    """The addresses in the order to try them, without duplicates; OSError or UnicodeError where there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))


def look_up(
    host: str, port: int, *, lookup: Lookup, timeout: float, interrupt: Callable[[], None] | None = None
) -> list[str]:
    """What `lookup` finds within `timeout` seconds; UnknownHostError for nothing. `interrupt` may raise meanwhile.

    The system's resolver cannot be told to stop: a thread of its own waits for it, and ends when it does.
    """
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(lookup(host, port))
        except Exception as error:
            answer.put(error)

    threading.Thread(target=ask, name="syncsvc-lookup", daemon=True).start()
    found = _wait(answer, time.monotonic() + timeout, interrupt)
    if isinstance(found, OSError | UnicodeError):
        raise UnknownHostError from found
    if isinstance(found, Exception):
        raise found
    if not found:
        raise UnknownHostError
    return found


def _wait(
    answer: queue.SimpleQueue[list[str] | Exception], deadline: float, interrupt: Callable[[], None] | None
) -> list[str] | Exception:
    while (left := deadline - time.monotonic()) > 0:
        try:
            return answer.get(timeout=min(left, _LOOK_SECONDS))
        except queue.Empty:
            if interrupt is not None:
                interrupt()
    return []
