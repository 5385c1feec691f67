"""A remote whose history goes on at random: changes, renames, reverts and restorations."""

from pathlib import Path
from random import Random

from tests.gitrepo import Content, Executable, GitRepo, Symlink

ODD_NAMES = (b"with space/%d.txt", b"new\nline-%d", b"quote\"'%d", b"caf\xc3\xa9/%d", b"latin-\xe9-%d", b"%%FF-%d")
# With parts of 4 KiB: one to five parts.
BIG_BYTES = 20_000


class Remote(GitRepo):
    """`id` is its repository's, once it is added."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(path)
        self.name = name
        self.id = ""
        self.tree: dict[str | bytes, Content] = {}
        self._past: list[dict[str | bytes, Content]] = []
        self._gone: dict[str | bytes, Content] = {}
        self._number = 0

    def write(self, files: dict[str | bytes, Content]) -> str:
        """Commits these changes (None deletes), and remembers the tree they make."""
        self._past.append(dict(self.tree))
        for path, content in files.items():
            before = self.tree.pop(path, None)
            if content is None and before is not None:
                self._gone[path] = before
            elif content is not None:
                self.tree[path] = content
        return self.commit(files)

    def fill(self, count: int, text: str = "first") -> str:
        """A commit that writes `count` small files anew."""
        return self.write({f"file-{number:05}": f"{text} {number}\n".encode() for number in range(count)})

    def go_on(self, random: Random, count: int) -> str:
        """A commit of some `count` changes of random kinds; now and then back to an older tree instead."""
        if len(self._past) > 2 and random.random() < 0.15:
            return self.revert(random)
        changes: dict[str | bytes, Content] = {}
        for _ in range(count):
            changes |= self._change(random)
        if not changes or all(self.tree.get(path) == content for path, content in changes.items()):
            changes |= self._create(random)
        return self.write(changes)

    def revert(self, random: Random) -> str:
        """A commit of an older tree."""
        older = random.choice(self._past[-8:])
        changes: dict[str | bytes, Content] = dict.fromkeys(self.tree.keys() - older.keys())
        changes |= {path: content for path, content in older.items() if self.tree.get(path) != content}
        return self.write(changes or self._create(random))

    def _change(self, random: Random) -> dict[str | bytes, Content]:
        kind = random.choice(("modify", "modify", "create", "create", "delete", "rename", "restore", "mode"))
        if kind == "restore" and self._gone:
            path = random.choice(sorted(self._gone, key=_bytes))
            return {path: self._gone.pop(path)}
        if kind == "create" or kind == "restore" or not self.tree:
            return self._create(random)
        path = random.choice(list(self.tree))
        if kind == "delete":
            return {path: None}
        if kind == "rename":
            return {path: None, self._new_path(random): self.tree[path]}
        if kind == "mode":
            return {path: _with_other_mode(self.tree[path])}
        return {path: self._content(random)}

    def _create(self, random: Random) -> dict[str | bytes, Content]:
        return {self._new_path(random): self._content(random)}

    def _new_path(self, random: Random) -> bytes:
        self._number += 1
        if random.random() < 0.2:
            return random.choice(ODD_NAMES) % self._number
        return b"folder-%d/file-%d" % (random.randrange(5), self._number)

    def _content(self, random: Random) -> Content:
        roll = random.random()
        if roll < 0.05:
            return random.randbytes(random.randrange(BIG_BYTES))
        if roll < 0.1:
            return Symlink(b"target-%d" % random.randrange(10**9))
        content = b"%d\n" % random.randrange(10**12) * random.randrange(1, 20)
        return Executable(content) if roll < 0.2 else content


def _bytes(path: str | bytes) -> bytes:
    return path.encode() if isinstance(path, str) else path


def _with_other_mode(content: Content) -> Content:
    match content:
        case Executable(data) | Symlink(data):
            return data
        case bytes() as data:
            return Executable(data)
    return content
