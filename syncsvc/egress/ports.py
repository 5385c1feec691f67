"""Which ports may be connected to."""

from collections.abc import Sequence

ANY = "*"


class PortPolicy:
    """`allowed` are numbers from 1 to 65535, or `*` for any; ValueError for anything else."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._any = ANY in allowed
        self._ports = frozenset(_port(text) for text in allowed if text != ANY)

    def permits(self, port: int) -> bool:
        return self._any or port in self._ports


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535:
        return int(text)
    raise ValueError(f"{text!r} is not a port; write numbers like 22,443, or * for any port.")
