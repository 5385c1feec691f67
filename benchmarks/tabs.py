"""Many open tabs that poll one address, each every two seconds; none waits for another."""

import asyncio
import random
import time

EVERY = 2.0


async def _ask(port: int, request: bytes, streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> int:
    """One request on a tab's own connection, which is made anew where the server has closed it; its status."""
    for attempt in range(2):
        fresh = not streams
        if fresh:
            streams.append(await asyncio.open_connection("127.0.0.1", port))
        reader, writer = streams[0]
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            await reader.readexactly(int(fields.get("content-length", 0)))
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
            streams.clear()
            if fresh or attempt:
                raise
            continue
        if fields.get("connection", "").lower() == "close":
            writer.close()
            streams.clear()
        return int(lines[0].split()[1])
    raise ConnectionError


async def _tab(port: int, request: bytes, until: float, times: list[float], statuses: set[int]) -> None:
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    due = time.monotonic() + random.uniform(0, EVERY)
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        began = time.perf_counter()
        statuses.add(await _ask(port, request, streams))
        times.append((time.perf_counter() - began) * 1000)
        due = max(due + EVERY, time.monotonic())  # as a timer in a browser: a late answer puts off the next question
    for _, writer in streams:
        writer.close()


def poll(port: int, path: str, cookie: str, *, tabs: int, seconds: float) -> tuple[list[float], set[int]]:
    """Milliseconds of each answer, and the statuses seen."""
    lines = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Cookie: {cookie}", "HX-Request: true", "", "")
    request = "\r\n".join(lines).encode()
    times: list[float] = []
    statuses: set[int] = set()

    async def all_tabs() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(_tab(port, request, until, times, statuses) for _ in range(tabs)))

    asyncio.run(all_tabs())
    return times, statuses
