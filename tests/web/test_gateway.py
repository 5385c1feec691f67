"""A request reaches Django complete and within its limits, or not at all. In this process, without a server."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from config.gateway import LARGE_BODIES, PIECE, SMALL, Gateway

LARGE = 1024 * 1024
SESSION = [(b"cookie", b"theme=dark; sessionid=x")]
TOKEN = [(b"authorization", b"Bearer x")]
HTML = [(b"accept", b"text/html,*/*")]
NEVER = 1e-9  # seconds in which nothing arrives
type Headers = list[tuple[bytes, bytes]]


class Application:
    """A WSGI application that notes what it is given; `wait` holds its threads up."""

    def __init__(self, content: bytes = b"ok", wait: threading.Event | None = None) -> None:
        self.content, self.wait = content, wait
        self.environs: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.wait:
            self.wait.wait(30)
        self.environs.append(environ)
        self.bodies.append(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [self.content]


class Exchange:
    """One request and what is sent back. `sizes`: of the parts of its body that arrive; then it ends, or is silent."""

    def __init__(self, headers: Headers = (), sizes: Iterable[int] = (0,), *, ends: str = "whole", **scope: Any):  # type: ignore[assignment]
        known = {"type": "http", "method": "POST", "http_version": "1.1", "scheme": "http", "query_string": b""}
        self.scope = {**known, "path": "/", "headers": list(headers), "client": ("192.0.2.1", 4711), **scope}
        self._parts = [{"type": "http.request", "body": b"a" * size, "more_body": True} for size in sizes]
        if ends == "whole":
            self._parts[-1]["more_body"] = False
        elif ends == "broken":
            self._parts.append({"type": "http.disconnect"})
        self.unread = len(self._parts)
        self.sent: list[dict[str, Any]] = []
        self.reads = True

    async def receive(self) -> dict[str, Any]:
        if not self.unread:
            await asyncio.Event().wait()
        self.unread -= 1
        return self._parts[-1 - self.unread]

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if not self.reads and len(self.sent) > 2:
            await asyncio.Event().wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def content(self) -> bytes:
        assert self.sent[-1]["more_body"] is False
        return b"".join(message["body"] for message in self.sent[1:])


def gateway(application: Application, **seconds: float) -> Gateway:
    return Gateway(application, threads=2, large=LARGE, session_cookie="sessionid", **seconds)


def ask(to: Gateway, *exchanges: Exchange) -> Exchange:
    async def all_of_them() -> None:
        await asyncio.gather(*(to(one.scope, one.receive, one.send) for one in exchanges))

    asyncio.run(all_of_them())
    return exchanges[0]


def length(size: int) -> Headers:
    return [(b"content-length", str(size).encode())]


@pytest.mark.parametrize(
    ("headers", "sizes", "status"),
    [
        (length(3), [3], 200),
        (length(SMALL), [SMALL], 200),
        ([], [SMALL // 2, SMALL // 2], 200),
        (length(SMALL + 1), [SMALL + 1], 413),
        (length(50_000_000), [LARGE], 413),
        ([], [SMALL, 1], 413),
        ([*length(LARGE), *SESSION], [LARGE], 200),
        ([*length(LARGE), *TOKEN], [LARGE], 200),
        (SESSION, [LARGE // 2, LARGE // 2], 200),
        ([*length(LARGE + 1), *TOKEN], [LARGE + 1], 413),
        (SESSION, [LARGE, 1], 413),
        ([*length(SMALL + 1), (b"cookie", b"csrftoken=sessionid")], [SMALL + 1], 413),
    ],
)
def test_a_body_within_its_limit_arrives_and_no_other(headers: Headers, sizes: list[int], status: int) -> None:
    application = Application()
    exchange = ask(gateway(application), Exchange(headers, sizes))
    assert exchange.status == status
    assert application.bodies == ([b"a" * sum(sizes)] if status == 200 else [])


def test_an_upload_is_not_read_at_all() -> None:
    assert ask(gateway(Application()), Exchange(length(LARGE + 1), [1, 1, 1])).unread == 3


@pytest.mark.parametrize("ends", ["whole", "broken", "silent"])
def test_a_long_form_that_is_refused_is_read_past_so_that_a_browser_shows_why(ends: str) -> None:
    """Cut off while it sends, it would show that the connection was reset, and the answer to nobody."""
    application = Application()
    form = Exchange([*length(3 * SMALL), *HTML], [SMALL, SMALL, SMALL], ends=ends)
    ask(gateway(application, body_seconds=0.05), form)
    assert (form.status, form.unread, application.bodies) == (413, 0, [])
    assert b"log in first" in form.content


@pytest.mark.parametrize(("ends", "status"), [("silent", 408), ("broken", 400)])
def test_a_body_that_never_ends_or_breaks_off_takes_no_thread(ends: str, status: int) -> None:
    application = Application()
    exchange = ask(gateway(application, body_seconds=0.02), Exchange(length(9), [1, 1], ends=ends))
    assert exchange.status == status
    assert application.bodies == []


def test_a_refusal_is_a_sentence_for_people_and_a_problem_for_programs() -> None:
    problem = json.loads(ask(gateway(Application()), Exchange(length(10**8))).content)
    assert problem == {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "detail": "Without a session or a token a body may have 32 KiB; log in first.",
        "kind": "too_large",
    }
    said = ask(gateway(Application()), Exchange([*length(10**8), *SESSION, *HTML])).content
    assert said == b"A body may have 1024 KiB; send less at once.\n"


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ([(b"host", b"h" * 255)], "/" + "p" * 2047, 200),
        ([(b"host", b"h" * 256)], "/", 400),
        ([(b"host", b"a"), (b"host", b"a")], "/", 400),
        ([], "/" + "p" * 2048, 414),
    ],
)
def test_a_path_or_host_that_would_fill_the_log_is_refused(headers: Headers, path: str, status: int) -> None:
    application = Application()
    assert ask(gateway(application), Exchange(headers, path=path)).status == status
    assert len(application.environs) == (status == 200)


def test_large_bodies_are_counted_until_they_are_answered() -> None:
    gate = threading.Event()
    to = gateway(Application(wait=gate))
    held = [Exchange([*length(LARGE), *TOKEN], [LARGE]) for _ in range(LARGE_BODIES)]
    one_more, small = Exchange(TOKEN, [LARGE]), Exchange(length(1), [1])

    async def crowd() -> None:
        first = [asyncio.ensure_future(to(one.scope, one.receive, one.send)) for one in held]
        await asyncio.sleep(0)
        await to(one_more.scope, one_more.receive, one_more.send)
        assert one_more.status == 503
        gate.set()
        await asyncio.gather(*first)

    asyncio.run(crowd())
    assert {one.status for one in held} == {200}
    assert ask(to, small).status == 200
    assert ask(to, Exchange(TOKEN, [LARGE])).status == 200


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_an_answer_of_any_size_arrives_whole(size: int) -> None:
    assert ask(gateway(Application(b"b" * size)), Exchange()).content == b"b" * size


def test_who_does_not_read_an_answer_is_given_no_more_of_it() -> None:
    deaf = Exchange()
    deaf.reads = False
    ask(gateway(Application(b"b" * 10 * PIECE), send_seconds=0.02), deaf)
    assert len(deaf.sent) == 3


def test_the_environment_says_what_the_request_said() -> None:
    headers = [
        (b"host", b"console.example"),
        (b"content-type", b"text/plain"),
        (b"transfer-encoding", b"chunked"),
        (b"x-forwarded-for", b"203.0.113.1"),
        (b"x_forwarded_for", b"198.51.100.66"),
        (b"x-forwarded-for", b"203.0.113.2"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
    ]
    application = Application()
    raw = b"/caf%C3%A9/a%2Fb"
    request = Exchange(headers, [2, 3], path="/café/a/b", raw_path=raw, query_string=b"q=%25&r", server=("::1", 8000))
    ask(gateway(application), request)
    (environ,) = application.environs
    assert {name: value for name, value in environ.items() if not name.startswith("wsgi.")} == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/café/a/b".encode().decode("latin-1"),
        "QUERY_STRING": "q=%25&r",
        "SERVER_NAME": "::1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_TYPE": "text/plain",
        "HTTP_HOST": "console.example",
        "HTTP_X_FORWARDED_FOR": "203.0.113.1,203.0.113.2",
        "HTTP_COOKIE": "a=1; b=2",
    } | {"CONTENT_LENGTH": "5"}
