"""What a process's children have in memory, read from /proc; 0 where there is none."""

from pathlib import Path

PROC = Path("/proc")


def anonymous_bytes_below(pid: int) -> int:
    """Together, without the pages of files: git maps its packs, and the kernel takes those away when it likes."""
    return sum(anonymous_bytes(child) + anonymous_bytes_below(child) for child in children_of(pid))


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in _entries(PROC / str(pid) / "task"):
        found += [int(word) for word in _text(task / "children").split()]
    return found


def anonymous_bytes(pid: int) -> int:
    lines = _text(PROC / str(pid) / "status").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it has ended
        return []


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
