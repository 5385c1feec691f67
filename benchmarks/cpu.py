"""What processes have used of the processor, read from /proc; 0 where there is none."""

import os
from typing import NamedTuple

from benchmarks.memory import PROC, children_of


class Cpu(NamedTuple):
    """Seconds: of the process itself, and of those children that have ended."""

    own: float
    children: float


def cpu_of(pid: int) -> Cpu:
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return Cpu(0.0, 0.0)
    ticks = os.sysconf("SC_CLK_TCK")
    return Cpu((int(fields[11]) + int(fields[12])) / ticks, (int(fields[13]) + int(fields[14])) / ticks)


def cpu_of_server(pid: int) -> float:
    """Of a server with a process a connection, all together."""
    return sum(cpu_of(pid)) + sum(cpu_of(child).own for child in children_of(pid))
