"""The row about slow clients: what everybody else waits while thousands of connections trickle and uploads come."""

import asyncio
import multiprocessing
import resource
import statistics as stats
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from benchmarks.result import Result, Scale
from benchmarks.stage import CHECKOUT, Stage
from syncsvc.management.embedded import free_port
from syncsvc.management.process import Program
from syncsvc.management.stack import web_command

MOST_MS = 250.0
READY_SECONDS = 60.0
SETTLE_SECONDS = 3.0  # until all connections are open
UPLOAD = 50 * 1024 * 1024
PIECE = b"x" * 65_536
UPLOADS = ("/admin/login/", "/admin/", "/hooks/github", "/admin/api/retry")
ASKED = (("GET", "/healthz"), ("GET", "/admin/login/"), ("POST", "/hooks/github"))
HOST = "Host: 127.0.0.1\r\n"


def slow_clients(stage: Stage, scale: Scale) -> list[Result]:
    """Two web processes, as `make up` has them; clients and questions in processes of their own."""
    port = free_port()
    stage.supervisor.start(Program(name="web", command=web_command(port, processes=2), directory=CHECKOUT))
    try:
        _wait(port)
        quiet = asyncio.run(_ask_all(port, seconds=5))
        crowd = multiprocessing.get_context("spawn").Process(
            target=_crowd, args=(port, scale.slow_clients, SETTLE_SECONDS + scale.slow_seconds), daemon=True
        )
        crowd.start()
        time.sleep(SETTLE_SECONDS)
        times = asyncio.run(_ask_all(port, seconds=scale.slow_seconds - 1))
        crowd.join()
    finally:
        stage.supervisor.stop("web")
    p99 = stats.quantiles(times, n=100)[98]
    return [
        Result(
            f"{len(ASKED)} pages beside {scale.slow_clients:,} slow connections and uploads of 50 MB, p99",
            "none of them",
            f"{p99:.0f} ms",
            f"{stats.quantiles(quiet, n=100)[98]:.0f} ms",
            "",
            f"< {MOST_MS:.0f} ms",
            p99 < MOST_MS,
            [f"median {stats.median(times):.0f} ms, longest {max(times):.0f} ms, of {len(times):,} answers."],
        )
    ]


def _wait(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with suppress(OSError):
            asyncio.run(_ask(port, "GET", "/healthz"))
            return
        if time.monotonic() > deadline:
            raise SystemExit("The web process does not start.")
        time.sleep(0.1)


async def _ask(port: int, method: str, path: str) -> float:
    """Milliseconds until the first bytes of the answer, the connection included."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\n{HOST}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
    if not await asyncio.wait_for(reader.read(64), 30):
        raise ConnectionResetError("no answer")
    writer.close()
    return (time.perf_counter() - began) * 1000


async def _ask_all(port: int, *, seconds: float) -> list[float]:
    times: list[float] = []

    async def go_on(method: str, path: str) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            times.append(await _ask(port, method, path))
            await asyncio.sleep(0.1)

    await asyncio.gather(*(go_on(*one) for one in ASKED))
    return times


def _crowd(port: int, connections: int, seconds: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kinds = (_half_a_header, _header_lines, _body, _chunks)

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        slow = [_again(kinds[number % len(kinds)], port, until) for number in range(connections)]
        big = [_again(_upload(path), port, until) for path in UPLOADS for _ in range(2)]
        await asyncio.gather(*slow, *big)

    asyncio.run(all_of_them())


type Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter, float], Awaitable[None]]


async def _again(client: Client, port: int, until: float) -> None:
    """A client that comes back half a second after it was sent away."""
    while time.monotonic() < until:
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 10)
            with suppress(OSError, TimeoutError):
                await client(reader, writer, until)
            writer.close()
        await asyncio.sleep(0.5)


async def _half_a_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
    writer.write(b"GET /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
    await asyncio.wait_for(reader.read(1), until - time.monotonic())


async def _header_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
    await _trickle(reader, writer, until, f"GET / HTTP/1.1\r\n{HOST}".encode(), b"X-A: b\r\n")


async def _body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
    head = f"POST /admin/login/ HTTP/1.1\r\n{HOST}Content-Length: 30000\r\n\r\n"
    await _trickle(reader, writer, until, head.encode(), b"a")


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
    head = f"POST /hooks/github HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"
    await _trickle(reader, writer, until, head.encode(), b"1\r\na\r\n")


async def _trickle(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float, head: bytes, piece: bytes
) -> None:
    writer.write(head)
    while time.monotonic() < until:
        writer.write(piece)
        await writer.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 1)
            return


def _upload(path: str) -> Client:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
        head = f"POST {path} HTTP/1.1\r\n{HOST}Content-Type: multipart/form-data; boundary=b\r\n"
        writer.write(f"{head}Content-Length: {UPLOAD}\r\n\r\n".encode())
        for _ in range(UPLOAD // len(PIECE)):
            writer.write(PIECE)
            await asyncio.wait_for(writer.drain(), 10)

    return send
