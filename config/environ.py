"""Translates a request from ASGI to WSGI (PEP 3333)."""

import io
import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

type Scope = dict[str, Any]
# Headers that do not become HTTP_…: a chunked body is complete by now, and has a length.
OWN = {b"content-type", b"content-length", b"transfer-encoding"}


def environ_of(scope: Scope, body: bytes) -> dict[str, Any]:
    """WSGI environment of a request whose complete body is `body`.

    Headers with an underscore in their name are left out: WSGI cannot tell `X_Forwarded_For` from `X-Forwarded-For`,
    and a proxy that replaces the second lets the first one pass.
    """
    host, port = (scope.get("server") or ("127.0.0.1", 0))[:2]
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": _path(scope),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(host),
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if name == b"content-type":
            environ["CONTENT_TYPE"] = value.decode("latin-1")
        elif b"_" not in name and name not in OWN:
            _add(environ, f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}", value.decode("latin-1"))
    if body or header(scope["headers"], b"content-length") is not None:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Value of the first header of this name (lower case); None without one."""
    return next((value for found, value in headers if found == name), None)


def _path(scope: Scope) -> str:
    """Path as PEP 3333 wants it: its bytes, decoded as latin-1."""
    raw = scope.get("raw_path")
    return (unquote_to_bytes(raw.partition(b"?")[0]) if raw else scope["path"].encode()).decode("latin-1")


def _add(environ: dict[str, Any], key: str, value: str) -> None:
    """Joins headers of one name to a list; cookies have a separator of their own (RFC 9113, 8.2.3)."""
    environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}" if key in environ else value
