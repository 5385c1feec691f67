"""Hostile remotes: packs that unfold, and a server that never ends what it says. All are made here, small and quick."""

import contextlib
import hashlib
import itertools
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.git.servers import packets, plain_body, serving

_TYPES = {"commit": 1, "tree": 2, "blob": 3, "ref-delta": 7}
_PIECE = 60_000
_AUTHOR = b"A U Thor <author@example.com> 1700000000 +0000"
MEGABYTE = 1 << 20


def sha_of(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def commit_of(tree: str) -> bytes:
    return b"tree %s\nauthor %s\ncommitter %s\n\na change\n" % (tree.encode(), _AUTHOR, _AUTHOR)


def tree_of(entries: Iterable[tuple[bytes, bytes, str]]) -> bytes:
    """A tree's content from (mode, name, sha) in git's order."""
    return b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(sha)) for mode, name, sha in entries)


def pack_object(kind: str, content: bytes, *, base: str = "") -> bytes:
    size, head = len(content), bytearray()
    byte = _TYPES[kind] << 4 | size & 15
    size >>= 4
    while size:
        head.append(byte | 128)
        byte, size = size & 127, size >> 7
    head.append(byte)
    return bytes(head) + bytes.fromhex(base) + zlib.compress(content, 1 if len(content) > 16 * MEGABYTE else 9)


def pack_of(objects: list[bytes]) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big") + b"".join(objects)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _number(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def delta(source: int, times: int, rest: bytes = b"") -> bytes:
    """A delta that copies the first `source` bytes so many times, and ends with `rest`; `source` is below 16 MB."""
    copy = bytes([0x80 | 0x70]) + source.to_bytes(3, "little")
    insert = bytes([len(rest)]) + rest if rest else b""
    return _number(source) + _number(source * times + len(rest)) + copy * times + insert


def _delivered(objects: list[bytes], tree: bytes) -> tuple[str, bytes]:
    """The commit of a tree, and the pack that holds both and the objects."""
    commit = commit_of(sha_of("tree", tree))
    return sha_of("commit", commit), pack_of([pack_object("commit", commit), pack_object("tree", tree), *objects])


def delta_bomb(megabytes: int, *, others: int = 0) -> tuple[str, bytes]:
    """A file of so many MB, a multiple of 8, in a pack of some KB; git builds it in memory. From 100 objects on, with
    the others, it stays packed."""
    source = b"\0" * (8 * MEGABYTE)
    unfolding = pack_object("ref-delta", delta(len(source), megabytes // 8), base=sha_of("blob", source))
    contents = [source, *(b"%d" % number for number in range(others))]
    objects = [*(pack_object("blob", content) for content in contents), unfolding]
    entries = [(b"100644", b"b%05d" % number, sha_of("blob", content)) for number, content in enumerate(contents)]
    return _delivered(objects, tree_of([(b"100644", b"a", sha_of("blob", b"\0" * (megabytes * MEGABYTE))), *entries]))


def deflate_bomb(megabytes: int) -> tuple[str, bytes]:
    """A folder's list of so many MB, in a pack of a thousandth."""
    return _delivered([], b"100644 a\0" + b"\0" * (megabytes * MEGABYTE))


def delta_chain(length: int) -> tuple[str, bytes]:
    """So many versions of a file of 8 MB, each a difference of some bytes to the first."""
    source = b"\0" * (8 * MEGABYTE)
    base = sha_of("blob", source)
    versions = (pack_object("ref-delta", delta(len(source), 1, b"%d" % n), base=base) for n in range(length))
    objects = [pack_object("blob", source), *versions]
    return _delivered(objects, tree_of([(b"100644", b"a", base)]))


def deep_tree(depth: int) -> tuple[str, bytes]:
    """A file below so many folders."""
    blob = b"deep"
    objects = [pack_object("blob", blob)]
    tree = tree_of([(b"100644", b"a", sha_of("blob", blob))])
    for _ in range(depth):
        objects.append(pack_object("tree", tree))
        tree = tree_of([(b"40000", b"d", sha_of("tree", tree))])
    return _delivered(objects, tree)


def long_names(count: int, length: int) -> tuple[str, bytes]:
    """So many files whose names have so many bytes."""
    blob = b"1"
    names = (b"%08d" % number + b"n" * (length - 8) for number in range(count))
    tree = tree_of((b"100644", name, sha_of("blob", blob)) for name in names)
    return _delivered([pack_object("blob", blob)], tree)


def nested_trees(levels: int = 10, width: int = 10) -> tuple[str, bytes]:
    """width ** levels files in a pack of some hundred bytes."""
    blob = b"1"
    objects = [pack_object("blob", blob)]
    mode, sha = b"100644", sha_of("blob", blob)
    for level in range(levels):
        tree = tree_of((mode, b"%03d" % number, sha) for number in range(width))
        if level < levels - 1:
            objects.append(pack_object("tree", tree))
        mode, sha = b"40000", sha_of("tree", tree)
    return _delivered(objects, tree)


def one_file() -> tuple[str, bytes]:
    """A sound commit."""
    return _delivered([pack_object("blob", b"1")], tree_of([(b"100644", b"a", sha_of("blob", b"1"))]))


def endless_pack() -> Iterator[bytes]:
    """Objects that zlib cannot make smaller: 100 GB of them."""
    noise = hashlib.shake_256(b"noise").digest(MEGABYTE)
    yield b"PACK" + (2).to_bytes(4, "big") + (100_000).to_bytes(4, "big")
    for number in itertools.count():
        yield pack_object("blob", b"%d" % number + noise)


def endless_refs(commit: str) -> Iterator[bytes]:
    for number in itertools.count(step=1000):
        refs = (b"%s refs/heads/branch-%d\n" % (commit.encode(), n) for n in range(number, number + 1000))
        yield packets(*refs)[:-4]


class HostileServer:
    """A remote over http that speaks git's protocol 2 and has one branch, main. `stop` ends what is endless.

    `refs` and `pack` are called once a request. `progress` says words without end before the pack. `protocol` 0 lists
    the refs at once, as old servers do.
    """

    def __init__(self, commit: str = "1" * 40, pack: Callable[[], Iterable[bytes]] | None = None) -> None:
        self.commit = commit
        self.pack = pack or (lambda: [pack_of([])])
        self.refs: Callable[[], Iterable[bytes]] = self._one_branch
        self.progress: Callable[[], Iterable[bytes]] = lambda: []
        self.protocol = 2
        # Where it says that more packs lie, though nobody asks.
        self.elsewhere: list[str] = []
        self.bytes_sent = 0
        self._stopping = threading.Event()

    def _one_branch(self) -> Iterable[bytes]:
        sha = self.commit.encode()
        yield packets(b"%s HEAD symref-target:refs/heads/main\n" % sha, b"%s refs/heads/main\n" % sha)[:-4]

    def advertisement(self) -> Iterator[bytes]:
        yield packets(b"# service=git-upload-pack\n")
        if self.protocol == 2:
            yield packets(
                b"version 2\n", b"agent=x\n", b"ls-refs=unborn\n", b"fetch=shallow\n", b"object-format=sha1\n"
            )
            return
        yield packets(b"%s HEAD\0side-band-64k shallow symref=HEAD:refs/heads/main\n" % self.commit.encode())[:-4]
        yield from self.refs()
        yield b"0000"

    def listing(self) -> Iterator[bytes]:
        yield from self.refs()
        yield b"0000"

    def fetched(self, *, known: bool) -> Iterator[bytes]:
        """`known`: git has named commits of its own, and waits for a word on them."""
        sha = self.commit.encode()
        if known:
            yield packets(b"acknowledgments\n", b"ready\n")[:-4] + b"0001"
        yield packets(b"shallow-info\n", b"shallow %s" % sha)[:-4] + b"0001"
        if self.elsewhere:
            lines = [b"%s %s\n" % (b"a" * 40, url.encode()) for url in self.elsewhere]
            yield packets(b"packfile-uris\n", *lines)[:-4] + b"0001"
        yield packets(b"packfile\n")[:-4]
        for text in self.progress():
            yield packets(b"\2" + text)[:-4]
        for block in self.pack():
            for start in range(0, len(block), _PIECE):
                yield packets(b"\1" + block[start : start + _PIECE])[:-4]
        yield b"0000"

    def write(self, pieces: Iterable[bytes], send: Callable[[bytes], object]) -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                if self._stopping.is_set():
                    return
                send(piece)
                self.bytes_sent += len(piece)

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """The URL of the repository."""
        with serving(_handler(self)) as base:
            try:
                yield f"{base}/a.git"
            finally:
                self._stopping.set()


def _handler(server: HostileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(server.advertisement(), "advertisement")

        def do_POST(self) -> None:
            body = plain_body(self.rfile.read(int(self.headers["Content-Length"])))
            if b"command=fetch" in body:
                self._answer(server.fetched(known=b"0009done" not in body), "result")
            else:
                self._answer(server.listing(), "result")

        def _answer(self, pieces: Iterable[bytes], kind: str) -> None:
            assert urlsplit(self.path).path.startswith("/a.git/")
            self.send_response(200)
            self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
            self.end_headers()
            server.write(pieces, self.wfile.write)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
