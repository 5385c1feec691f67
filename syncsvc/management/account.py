"""As root each embedded server runs as a user of its own, without a name: who takes one over reaches nothing else."""

import os
import pwd
import shutil
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

from syncsvc.management.process import LINUX
from syncsvc.management.supervisor import StartError

# Numbers that no distribution gives to anybody (systemd, UIDS-GIDS: "60578…61183 unused").
FIRST, LAST = 60578, 61183


@dataclass(frozen=True, slots=True)
class Account:
    """`uid` is the user's and its group's number; None where the server runs as we do, who are not root."""

    uid: int | None
    orphan_signal: str = "KILL"

    @classmethod
    def of(cls, directory: Path, number: int, *, orphan_signal: str = "KILL") -> "Account":
        """That of the server with this number, 0 or 1, below `directory`; other checkouts very likely have others."""
        if os.geteuid() != 0:
            return cls(None)
        if not (LINUX and shutil.which("setpriv")):
            raise StartError("Servers are not run as root. Run this as another user, or install util-linux (setpriv).")
        pairs = (LAST - FIRST + 1) // 2
        first = zlib.crc32(os.fsencode(directory.resolve())) % pairs
        uids = (FIRST + 2 * ((first + step) % pairs) + number for step in range(pairs))
        return cls(next(uid for uid in uids if not _has_name(uid)), orphan_signal)

    @classmethod
    def with_a_name(cls) -> "Account":
        """`nobody`, for the second of PostgreSQL's initdb, which asks for its user's name, over an empty folder."""
        return cls(pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None)

    def prefix(self, binary: Path, directory: Path) -> tuple[str, ...]:
        """What to put before a command, so that it runs as this user.

        Where the user may not enter the checkout (one below /root), it keeps the right to read and pass folders, no
        other.
        """
        if self.uid is None:
            return ()
        prefix = (
            *("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--no-new-privs"),
            f"--pdeathsig={self.orphan_signal}",
        )
        folders = {*binary.parents, *directory.resolve().parents}
        if (
            all(folder.stat().st_mode & 0o001 for folder in folders if folder.exists())
            and binary.stat().st_mode & 0o005
        ):
            return (*prefix, "--bounding-set=-all", "--inh-caps=-all")
        right = "dac_read_search" if _have_capability(2) else "dac_override"
        return (*prefix, *(f"--{of}=-all,+{right}" for of in ("bounding-set", "inh-caps", "ambient-caps")))

    def give(self, path: Path) -> None:
        """One file or folder."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def take_over(self, directory: Path) -> None:
        """The folder and all in it that its owner has (of an earlier version: `nobody`); no server may run there.

        The folder itself goes last, so that what was interrupted is done again.
        """
        directory.chmod(0o700)
        owner = directory.lstat().st_uid
        if self.uid is None or owner == self.uid:
            return
        for folder, folders, files in os.walk(directory):
            for name in (*folders, *files):
                path = Path(folder, name)
                found = path.lstat()
                # A link to a file elsewhere, which its owner may have put there, is left as it is.
                if found.st_uid == owner and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                    self.give(path)
        self.give(directory)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _have_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    mask = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(mask >> number & 1)
