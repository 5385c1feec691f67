"""What a commit holds, in numbers: files that are sent, their bytes, and what is left out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import batched

from syncsvc.git.manifest import too_many_files
from syncsvc.git.unsafe_paths import is_unsafe, unsafe_among
from syncsvc.models import Snapshot
from syncsvc.sync.selection import MAX_PATH_BYTES, Selection
from syncsvc.types import SUBMODULE_MODE, ManifestEntry, TreeChange

# Unsafe paths that a snapshot names.
EXAMPLES = 5
_GROUP = 500


@dataclass(slots=True)
class Contents:
    """`unsafe_paths` are counted among the files where they are sent."""

    selection: Selection
    files: int = 0
    content_bytes: int = 0
    submodules: int = 0
    long_paths: int = 0
    large_files: int = 0
    unsafe_paths: int = 0
    unsafe_examples: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, snapshot: Snapshot, selection: Selection) -> "Contents | None":
        """What the row says; None where it was counted by another selection, or its unsafe paths were not."""
        if snapshot.selection != selection.digest or snapshot.unsafe_paths is None:
            return None
        return cls(
            selection,
            files=snapshot.files,
            content_bytes=snapshot.bytes,
            submodules=snapshot.submodules,
            long_paths=snapshot.long_paths,
            large_files=snapshot.large_files,
            unsafe_paths=snapshot.unsafe_paths,
            unsafe_examples=[bytes(path) for path in snapshot.unsafe_examples],
        )

    def fill(self, snapshot: Snapshot) -> None:
        """Writes the numbers into the row, which is not saved."""
        snapshot.files, snapshot.bytes = self.files, self.content_bytes
        snapshot.submodules, snapshot.long_paths = self.submodules, self.long_paths
        snapshot.large_files = self.large_files
        snapshot.unsafe_paths, snapshot.unsafe_examples = self.unsafe_paths, self.unsafe_examples
        snapshot.unsafe_left_out = self.selection.leaves_out_unsafe
        snapshot.selection = self.selection.digest

    def count(self, manifest: Iterable[ManifestEntry]) -> None:
        for group in batched(manifest, _GROUP):
            unsafe = unsafe_among([entry.path for entry in group])
            for path, mode, _, size in group:
                self._add(path, mode, size, 1, is_unsafe=bool(unsafe) and path in unsafe)

    def move(self, change: TreeChange, old_size: int, size: int) -> None:
        """Takes in a difference of one path."""
        unsafe = is_unsafe(change.path)
        if change.old_mode is not None:
            self._add(change.path, change.old_mode, old_size, -1, is_unsafe=unsafe)
        if change.mode is not None:
            self._add(change.path, change.mode, size, 1, is_unsafe=unsafe)

    def check_files(self, limit: int) -> None:
        """Raises repository_too_large for more than so many entries; those that are left out count as well."""
        unsafe = self.unsafe_paths if self.selection.leaves_out_unsafe else 0
        if self.files + self.submodules + self.long_paths + self.large_files + unsafe > limit:
            raise too_many_files(limit)

    def _add(self, path: bytes, mode: str, size: int, times: int, *, is_unsafe: bool) -> None:
        if mode == SUBMODULE_MODE:
            self.submodules += times
        elif len(path) > MAX_PATH_BYTES:
            self.long_paths += times
        elif size > self.selection.most_bytes:
            self.large_files += times
        else:
            if is_unsafe:
                self._add_unsafe(path, times)
                if self.selection.leaves_out_unsafe:
                    return
            self.files += times
            self.content_bytes += times * size

    def _add_unsafe(self, path: bytes, times: int) -> None:
        self.unsafe_paths += times
        if times < 0 and path in self.unsafe_examples:
            self.unsafe_examples.remove(path)
        elif times > 0 and len(self.unsafe_examples) < EXAMPLES:
            self.unsafe_examples.append(path)


def check_files(snapshot: Snapshot, limit: int) -> None:
    """The same for a commit that was taken in before the limit was as it is."""
    if snapshot.files + snapshot.left_out > limit:
        raise too_many_files(limit)
