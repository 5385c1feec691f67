"""ProgressLine for people: one line that is written over on a terminal, a line a second otherwise."""

import shutil
import time
from typing import TextIO

from syncsvc.visible import visible_line

CLEAR = "\r\x1b[K"


class ProgressLine:
    """`quiet` says nothing where the stream is no terminal."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream, self._quiet = stream, quiet
        self._terminal = stream.isatty()
        self._shown, self._last, self._shown_at = False, "", 0.0

    def show(self, line: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(CLEAR + visible_line(line)[:width])
            self._shown = True
        elif not self._quiet and line != self._last and time.monotonic() - self._shown_at >= 1:
            self._last, self._shown_at = line, time.monotonic()
            self._write(f"{visible_line(line)}\n")

    def clear(self) -> None:
        """Takes the line away, for another to be written in its place."""
        if self._shown:
            self._write(CLEAR)
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
