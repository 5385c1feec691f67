"""Twenty hostile remotes, each on a port of its own: prints the name, the expected kinds and the URL of each."""

import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable

from tests.git.hostile import (
    HostileServer,
    deep_tree,
    deflate_bomb,
    delta_bomb,
    delta_chain,
    endless_pack,
    endless_refs,
    long_names,
    nested_trees,
)

TOO_LARGE = ("repository_too_large",)
# git before 2.45 has no limit of depth: its stack ends, which it tells as missing objects.
TOO_DEEP = ("git_corrupt", *TOO_LARGE)


def of(made: tuple[str, bytes]) -> HostileServer:
    commit, pack = made
    return HostileServer(commit, lambda: [pack])


def refs(protocol: int) -> HostileServer:
    server = HostileServer()
    server.protocol, server.refs = protocol, lambda: endless_refs(server.commit)
    return server


def talk(text: bytes) -> HostileServer:
    server = HostileServer()
    server.progress = lambda: itertools.repeat(text)
    return server


# Limits that a worker has for this row; each remote exceeds one of them, or MAX_FILES at its default.
LIMITS = {
    "GIT_MEMORY_BYTES": 256 << 20,
    "GIT_CPU_SECONDS": 5,
    "MAX_REPOSITORY_BYTES": 128 << 20,
    "MAX_REFS_BYTES": 32 << 20,
}
REMOTES: dict[str, tuple[tuple[str, ...], Callable[[], HostileServer]]] = {
    "delta bomb": (TOO_LARGE, lambda: of(delta_bomb(512))),
    "delta bomb, packed": (TOO_LARGE, lambda: of(delta_bomb(1024, others=100))),
    "delta chain": (TOO_LARGE, lambda: of(delta_chain(20_000))),
    "long delta chain": (TOO_LARGE, lambda: of(delta_chain(100_000))),
    "deflate bomb": (TOO_LARGE, lambda: of(deflate_bomb(300))),
    "larger deflate bomb": (TOO_LARGE, lambda: of(deflate_bomb(600))),
    "names": (TOO_LARGE, lambda: of(long_names(4_000, 100_000))),
    "longer names": (TOO_LARGE, lambda: of(long_names(100, 4_000_000))),
    "nested trees": (TOO_LARGE, lambda: of(nested_trees())),
    "wide nested trees": (TOO_LARGE, lambda: of(nested_trees(levels=4, width=100))),
    "narrow nested trees": (TOO_LARGE, lambda: of(nested_trees(levels=30, width=2))),
    "depth": (TOO_DEEP, lambda: of(deep_tree(100_000))),
    "more depth": (TOO_DEEP, lambda: of(deep_tree(200_000))),
    "refs": (TOO_LARGE, lambda: refs(2)),
    "refs of an old server": (TOO_LARGE, lambda: refs(0)),
    "more refs": (TOO_LARGE, lambda: refs(2)),
    "pack": (TOO_LARGE, lambda: HostileServer(pack=endless_pack)),
    "another pack": (TOO_LARGE, lambda: HostileServer("2" * 40, pack=endless_pack)),
    "progress": (TOO_LARGE, lambda: talk(b"Counting objects: 1%\r" * 100)),
    "messages": (TOO_LARGE, lambda: talk(b"please wait\n" * 100)),
}


def main() -> None:
    os.nice(19)  # what they cost here is no cost of syncsvc's
    with contextlib.ExitStack() as stack:
        served = {name: (kinds, stack.enter_context(make().serving())) for name, (kinds, make) in REMOTES.items()}
        print(json.dumps(served), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
