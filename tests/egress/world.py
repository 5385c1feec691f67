"""A world of a test's own, in which every address leads to canaries and every name to the test's name server.

It is a process in network and mount namespaces of its own, for which Linux wants no root: all addresses, public ones,
too, are routed to its loopback, and /etc/resolv.conf names the test's server. So what syncsvc connects to is seen where
it arrives, by its own code, libcurl, git and ssh alike.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import django

CORPUS = Path(__file__).with_name("corpus.toml")
PROXY_PORT = 4750
PROXY = f"http://127.0.0.1:{PROXY_PORT}"
PROGRAM = "#!/bin/sh\ntouch {home}/started\nexit 1\n"
PORTS = (22, 80, 443, 9418)
WEBHOOKS = ["delivery", "delivery over TLS", "probe", "ping"]
SCP = "ssh as scp writes it"
GIT = ["git over http", "git over https", "git protocol", "ssh", SCP]
# Hosts that take a second each: ways that look names up in the same manner leave them out.
SLOW = {"silent.test": ("delivery", "git over https")}
STRICT = {"WEBHOOK_ALLOWED_NETWORKS": "", "GIT_ALLOWED_NETWORKS": "", "GIT_ALLOWED_PORTS": "22,80,443,9418"}
NAME_SERVER = "127.0.0.53"
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
RESOLVER = f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n"
INTO_IT = ("unshare", "--user", "--map-root-user", "--net", "--mount")


class Visit(NamedTuple):
    """One try of one way out.

    `connected` has the addresses and ports where a connection arrived, `asked` what the world's proxy was asked for,
    `around` the name of the surroundings.
    """

    way: str
    host: str
    kind: str
    text: str
    connected: list[tuple[str, int]]
    asked: list[str]
    around: str


class Around(NamedTuple):
    """What a machine may have around syncsvc: variables, and files in the home folder that /etc/passwd names.

    In values and texts `{proxy}` is the world's proxy, `{program}` a program, and `{home}` the folder. Where the
    program is started the visit has `asked` it.
    """

    name: str
    variables: Mapping[str, str] = {}
    files: Mapping[str, str] = {}


NOTHING = Around("nothing")


@cache
def corpus() -> dict[str, dict[str, Any]]:
    return tomllib.loads(CORPUS.read_text(encoding="utf-8"))


def can_begin() -> bool:
    """False where this machine lets nobody make namespaces, as in some containers."""
    return subprocess.run([*INTO_IT, "true"], capture_output=True).returncode == 0


def visit(
    ways: Sequence[str], hosts: Sequence[str], around: Sequence[Around] = (NOTHING,), **environment: str
) -> list[Visit]:
    """Tries each way with each host in a new world, where these settings hold, in each of the surroundings."""
    ended = subprocess.run(
        [*INTO_IT, sys.executable, "-m", "tests.egress.world"],
        input=json.dumps({"ways": ways, "hosts": hosts, "around": around}).encode(),
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


def _build(home: Path) -> None:
    for command in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    passwd = f"root:x:0:0:root:{home}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    hosts = "hosts: files dns\npasswd: files\n"
    with tempfile.TemporaryDirectory() as folder:
        texts = {"resolv.conf": RESOLVER, "hosts": HOSTS, "nsswitch.conf": hosts, "passwd": passwd}
        for name, text in texts.items():
            file = Path(folder, name)
            file.write_text(text)
            subprocess.run(["mount", "--bind", str(file), f"/etc/{name}"], check=True)


@contextlib.contextmanager
def _surrounded(around: Around, home: Path) -> Iterator[None]:
    """The surroundings, for so long."""
    program = home / "program"
    home.mkdir()
    program.write_text(PROGRAM.format(home=home))
    program.chmod(0o755)
    meant = {"proxy": PROXY, "program": program, "home": home}
    before = dict(os.environ)
    os.environ.update({name: value.format(**meant) for name, value in around.variables.items()})
    for name, text in around.files.items():
        (home / name).parent.mkdir(mode=0o700, exist_ok=True)
        (home / name).write_text(text.format(**meant))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home)


def _main(home: Path) -> None:
    # Not before the world is there: it is this process's alone, and what it imports may look names up.
    _build(home)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from tests.egress.canary import Canaries
    from tests.egress.nameserver import NameServer
    from tests.egress.proxy import ProxyServer
    from tests.egress.ways import try_way

    asked = json.load(sys.stdin)
    names = corpus()["names"]
    canaries = Canaries(PORTS)
    visits = []
    server = NameServer(names, NAME_SERVER)
    with ProxyServer(port=PROXY_PORT) as proxy:
        proxy.answer = b"HTTP/1.1 502 Bad gateway\r\nContent-Length: 0\r\n\r\n"
        for around in [Around(*each) for each in asked["around"]]:
            with _surrounded(around, home):
                for way in asked["ways"]:
                    server.begin_again()
                    for host in asked["hosts"]:
                        if way not in SLOW.get(host, asked["ways"]):
                            continue
                        for _ in range(tries(host, names)):
                            kind, text = try_way(way, host)
                            seen = [tuple(each) for each in canaries.take()]
                            asked_for = proxy.take()
                            if (started := home / "started").exists():
                                asked_for.append("the program")
                                started.unlink()
                            visits.append(Visit(way, host, kind, text, seen, asked_for, around.name))
    json.dump(visits, sys.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _folder:
        _main(Path(_folder, "home"))
