"""What was measured on."""

import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

from django.db import connection


def describe() -> str:
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        [postgres] = cursor.fetchone() or [""]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.release()};"
        f" Python {platform.python_version()}, git {git}, PostgreSQL {postgres} (fsync on: {_sync_ms():.1f} ms a sync);"
        f" load before {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _sync_ms() -> float:
    """What one small durable write costs here."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        for _ in range(20):
            file.write(b"x" * 8192)
            file.flush()
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) / 20 * 1000
