"""There is no way out but those that the corpus tries."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Modules of programs that speak to others; most obey variables of the environment.
SPEAKING = {
    *("aiohttp", "ftplib", "http.client", "httpx", "imaplib", "poplib", "pycurl", "requests", "smtplib", "telnetlib"),
    *("urllib.request", "urllib3", "websockets", "xmlrpc.client"),
}
# Webhooks, through the policy; and what `make up` and `make demo` ask of their own servers on this machine.
KNOWN = {
    "syncsvc/delivery": {"pycurl"},
    "syncsvc/management": {"http.client"},
}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_else_speaks_to_other_machines() -> None:
    found = {
        (str(file.parent.relative_to(ROOT)), name)
        for folder in ("syncsvc", "config")
        for file in (ROOT / folder).rglob("*.py")
        for name in imported(file)
        if name in SPEAKING
    }
    assert found == {(folder, name) for folder, names in KNOWN.items() for name in names}
