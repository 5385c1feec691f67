"""An operator's browser, as far as a server sees it: a login, requests on a kept connection, a first load."""

import gzip
import re
import time
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

ASSET = re.compile(r"""<(?:script|img|source|iframe)\b[^>]*?\bsrc=["']([^"']+)|<link\b([^>]*)>""", re.IGNORECASE)
HREF = re.compile(r"""\bhref=["']([^"']+)""", re.IGNORECASE)
LOADED = re.compile(r"""\brel=["'](?:stylesheet|icon|shortcut icon|preload|modulepreload)""", re.IGNORECASE)
IN_STYLESHEET = re.compile(r"""@import\s+(?:url\()?["']?([^"')]+)""")


class Weight(NamedTuple):
    """Bytes of bodies: as they were sent, and as they would be through a proxy that compresses."""

    sent: int
    compressed: int
    assets: int
    elsewhere: list[str]


class Operator:
    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        self.port, self._more = port, headers or {}
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookies: dict[str, str] = {}

    def log_in(self, name: str, password: str) -> None:
        self.get("/admin/login/")
        form = {"username": name, "password": password, "csrfmiddlewaretoken": self._cookies["csrftoken"]}
        status, _, _ = self._ask("POST", "/admin/login/?next=/admin/", urlencode(form))
        assert status == 302, f"the login was answered with {status}"

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def get(self, path: str) -> tuple[int, bytes]:
        status, body, _ = self._ask("GET", path)
        return status, body

    def timed(self, path: str) -> tuple[int, float]:
        """Status, and milliseconds from the request to the answer's last byte."""
        began = time.perf_counter()
        status, _ = self.get(path)
        return status, (time.perf_counter() - began) * 1000

    def first_load(self, path: str) -> Weight:
        """The page and all that it has the browser fetch, stylesheets' own included."""
        sent = compressed = 0
        waiting, seen, elsewhere = [path], {path}, list[str]()
        while waiting:
            address = waiting.pop()
            status, body, kind = self._ask("GET", address)
            assert status == 200, f"{address} was answered with {status}"
            sent += len(body)
            packed = body[:2] == b"\x1f\x8b"
            compressed += len(body) if packed else min(len(body), len(gzip.compress(body, 6)))
            text = (gzip.decompress(body) if packed else body).decode(errors="replace")
            for link in _links(text, kind):
                target = urljoin(f"http://127.0.0.1:{self.port}{address}", link)
                parts = urlsplit(target)
                if parts.scheme == "data":
                    continue
                if parts.netloc != f"127.0.0.1:{self.port}":
                    elsewhere.append(target)
                elif (asset := parts._replace(scheme="", netloc="", fragment="").geturl()) not in seen:
                    seen.add(asset)
                    waiting.append(asset)
        return Weight(sent, compressed, len(seen) - 1, elsewhere)

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, form: str | None = None) -> tuple[int, bytes, str]:
        headers = {"Cookie": self.cookie, "Accept-Encoding": "gzip", "Accept": "text/html,*/*", **self._more}
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            self._connection.request(method, path, form, headers)
            answer = self._connection.getresponse()
        except (RemoteDisconnected, BrokenPipeError, ConnectionResetError):  # it was idle for too long
            self._connection.close()
            self._connection.request(method, path, form, headers)
            answer = self._connection.getresponse()
        body = answer.read()
        self._keep_cookies(answer)
        return answer.status, body, answer.getheader("Content-Type", "")

    def _keep_cookies(self, answer: HTTPResponse) -> None:
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name] = value


def _links(text: str, kind: str) -> list[str]:
    if "css" in kind:
        return [link for link in IN_STYLESHEET.findall(text) if not link.startswith("data:")]
    if "html" not in kind:
        return []
    found = []
    for source, link in ASSET.findall(text):
        href = HREF.search(link) if link and LOADED.search(link) else None
        found += [source] if source else [href[1]] if href else []
    return found
