"""A world of a test's own, in which every address leads to canaries and every name to the test's name server.

It is a process in network and mount namespaces of its own, for which Linux wants no root: all addresses, public ones,
too, are routed to its loopback, and /etc/resolv.conf names the test's server. So what syncsvc connects to is seen where
it arrives, by its own code, libcurl, git and ssh alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import django

CORPUS = Path(__file__).with_name("corpus.toml")
PORTS = (22, 80, 443, 9418)
NAME_SERVER = "127.0.0.53"
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
RESOLVER = f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n"
INTO_IT = ("unshare", "--user", "--map-root-user", "--net", "--mount")


class Visit(NamedTuple):
    """One try of one way out. `connected` has the addresses and ports where a connection arrived."""

    way: str
    host: str
    kind: str
    text: str
    connected: list[tuple[str, int]]


@cache
def corpus() -> dict[str, dict[str, Any]]:
    return tomllib.loads(CORPUS.read_text(encoding="utf-8"))


def can_begin() -> bool:
    """False where this machine lets nobody make namespaces, as in some containers."""
    return subprocess.run([*INTO_IT, "true"], capture_output=True).returncode == 0


def visit(ways: Sequence[str], hosts: Sequence[str], **environment: str) -> list[Visit]:
    """Tries each way with each host in a new world, where these settings hold."""
    ended = subprocess.run(
        [*INTO_IT, sys.executable, "-m", "tests.egress.world"],
        input=json.dumps({"ways": ways, "hosts": hosts}).encode(),
        env={**os.environ, **environment},
        cwd=CORPUS.parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    return [Visit(*line) for line in json.loads(ended.stdout)]


def tries(host: str, names: Mapping[str, Any]) -> int:
    """One, and for a name whose server changes its mind one for each answer, and one more."""
    answers = names.get(host) or [""]
    return 1 if isinstance(answers[0], str) else len(answers) + 1


def _build() -> None:
    for command in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("resolv.conf", RESOLVER), ("hosts", HOSTS), ("nsswitch.conf", "hosts: files dns\n")):
            file = Path(folder, name)
            file.write_text(text)
            subprocess.run(["mount", "--bind", str(file), f"/etc/{name}"], check=True)


def _main() -> None:
    # Not before the world is there: it is this process's alone, and what it imports may look names up.
    _build()
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from tests.egress.canary import Canaries
    from tests.egress.nameserver import NameServer
    from tests.egress.ways import try_way

    asked = json.load(sys.stdin)
    names = corpus()["names"]
    canaries = Canaries(PORTS)
    visits = []
    server = NameServer(names, NAME_SERVER)
    for way in asked["ways"]:
        server.begin_again()
        for host in asked["hosts"]:
            for _ in range(tries(host, names)):
                kind, text = try_way(way, host)
                visits.append(Visit(way, host, kind, text, [tuple(seen) for seen in canaries.take()]))
    json.dump(visits, sys.stdout)


if __name__ == "__main__":
    _main()
