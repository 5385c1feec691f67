"""The step between the web server and Django: no client, however slow, holds a thread.

The web server (granian) drops connections whose headers arrive too slowly. The gateway reads the body of a request on
the event loop, within a limit of bytes and one of seconds. Only a complete request takes one of the threads that run
Django, and the thread is free again as soon as the answer is complete.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from config.environ import Scope, environ_of, header

type Send = Callable[[dict[str, Any]], Awaitable[None]]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

SMALL = 32 * 1024  # bytes of a body that comes without a session or a token: a login is far smaller
LARGE_BODIES = 64  # bodies over SMALL that one process keeps at a time
BODY_SECONDS = 20.0  # from the headers of a request to the end of its body
SEND_SECONDS = 20.0  # until a client takes the next piece of an answer
PIECE = 64 * 1024
MOST_PATH, MOST_HOST = 2048, 255  # bytes; both are logged where they lead nowhere
UNREAD = (413, 503)  # statuses of refusals that come before the body
KINDS = {400: "malformed", 408: "timeout", 413: "too_large", 414: "too_long", 503: "busy"}


class Refusal(Exception):
    """The gateway answers the request itself, with this status and this sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Gateway:
    """ASGI application that runs the WSGI application `wsgi` in `threads` threads.

    `large`: the most bytes of a body that has the session cookie or a token, valid or not. Without either it is SMALL,
    so that before a login nothing big is read, kept or parsed.
    """

    def __init__(
        self,
        wsgi: Callable[..., Iterable[bytes]],
        *,
        threads: int,
        large: int,
        session_cookie: str,
        body_seconds: float = BODY_SECONDS,
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        self._wsgi = wsgi
        self._large = large
        self._session = f"{session_cookie}=".encode()
        self._body_seconds, self._send_seconds = body_seconds, send_seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="web")
        self._free_large = LARGE_BODIES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        holds = False  # one of the LARGE_BODIES, until its request is answered
        try:
            _check_address(scope)
            most = self._most(scope)
            if self._declared(scope, most) > SMALL:
                self._take_large()
                holds = True
            body = bytearray()
            try:
                async with asyncio.timeout(self._body_seconds):
                    async for part in _parts(receive):
                        body += part
                        if len(body) > most:
                            raise _too_large(most)
                        if len(body) > SMALL and not holds:  # of a length that was not declared
                            self._take_large()
                            holds = True
            except TimeoutError:
                raise Refusal(408, "The body arrives too slowly; send the request again.") from None
            answer = await self._run(environ_of(scope, bytes(body)))
        except Refusal as refusal:
            if refusal.status in UNREAD:
                await self._read_past(scope, receive)
            answer = _refused(scope, refusal)
        finally:
            self._free_large += holds
        await self._send(send, *answer)

    def _most(self, scope: Scope) -> int:
        """Bytes that the body of this request may have."""
        headers = scope["headers"]
        known = header(headers, b"authorization") is not None or any(
            name == b"cookie" and self._session in value for name, value in headers
        )
        return self._large if known else SMALL

    def _declared(self, scope: Scope, most: int) -> int:
        if (declared := _length(scope)) > most:
            raise _too_large(most)
        return declared

    def _take_large(self) -> None:
        if not self._free_large:
            raise Refusal(503, "Too many large requests are being read; send this one again in a minute.")
        self._free_large -= 1

    async def _read_past(self, scope: Scope, receive: Receive) -> None:
        """Drops a body as a form of the console may have one: a browser that cannot send all of it shows no answer."""
        if not SMALL < _length(scope) <= self._large:
            return
        with suppress(TimeoutError, Refusal):
            async with asyncio.timeout(self._body_seconds):
                async for _ in _parts(receive):
                    pass

    async def _run(self, environ: dict[str, Any]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, environ)

    def _answer(self, environ: dict[str, Any]) -> Answer:
        """Runs Django and closes its response in one thread: closing gives back the thread's database connection."""
        started: list[tuple[int, list[tuple[bytes, bytes]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., None]:
            pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            started[:] = [(int(status[:3]), pairs)]
            return lambda _: None

        chunks = self._wsgi(environ, start_response)
        try:
            content = b"".join(chunks)
        finally:
            if close := getattr(chunks, "close", None):
                close()
        return (*started[0], content)

    async def _send(self, send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
        """Sends the answer in pieces. A client that takes none for too long loses its connection."""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        starts = range(0, len(content), PIECE) or range(1)
        for start in starts:
            piece, more = content[start : start + PIECE], start != starts[-1]
            try:
                async with asyncio.timeout(self._send_seconds):
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
            except TimeoutError:
                return


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request as it arrives; Refusal where it breaks off."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The body breaks off, or is not well formed; send the request again.")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _length(scope: Scope) -> int:
    """Bytes of the body that the client has declared; the web server refuses what is no number."""
    return int(header(scope["headers"], b"content-length") or 0)


def _check_address(scope: Scope) -> None:
    if len(scope["path"]) > MOST_PATH:
        raise Refusal(414, f"The path of the address is over {MOST_PATH:,} bytes; no page has such an address.")
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        raise Refusal(400, "There are several Host headers; send one.")
    if any(len(host) > MOST_HOST for host in hosts):
        raise Refusal(400, f"The Host header is over {MOST_HOST} bytes; no name is.")


def _too_large(most: int) -> Refusal:
    if most == SMALL:
        text = f"Without a session or a token a body may have {SMALL >> 10} KiB; log in first."
    else:
        text = f"A body may have {most >> 10} KiB; send less at once."
    return Refusal(413, text)


def _refused(scope: Scope, refusal: Refusal) -> Answer:
    """A sentence for a browser; problem details (RFC 9457) for a program, as the API has them."""
    if b"text/html" in (header(scope["headers"], b"accept") or b""):
        kind, content = b"text/plain; charset=utf-8", f"{refusal.text}\n".encode()
    else:
        document = {
            "type": "about:blank",
            "title": HTTPStatus(refusal.status).phrase,
            "status": refusal.status,
            "detail": refusal.text,
            "kind": KINDS[refusal.status],
        }
        kind, content = b"application/problem+json", json.dumps(document).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    return refusal.status, headers, content
