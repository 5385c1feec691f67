import socket
import time

import pytest

from tests.receiver_program.program import Program, message, signature, whole_file


def exchange(program: Program, *pieces: bytes) -> bytes:
    """Sends raw bytes on a new connection and reads to its end."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=10) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.02)
        answer = b""
        while received := client.recv(65536):
            answer += received
        return answer


def signed_request(program: Program, path: bytes, *headers: str) -> bytes:
    data = {"repository": {"id": "r", "url": "u", "branch": "main"}, "commit": "c" * 40, "sync_run": "1"}
    body, now = message("file.created", data | {"file": whole_file(path, path)}), int(time.time())
    webhook_id = path.decode()
    lines = [
        "POST /hooks?x=1 HTTP/1.1",
        "Host: receiver",
        f"Webhook-Id: {webhook_id}",
        f"WEBHOOK-TIMESTAMP: {now}",
        f"webhook-signature:{signature(program.secret, webhook_id, now, body)}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nSpace : x\r\n\r\n", 400),
        (b"POST / HTTP/2.0\r\nHost: x\r\n\r\n", 400),
        (b"\x16\x03\x01 not http\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 1_000_000, 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * 20_000, 431),
    ],
)
def test_malformed_requests_are_answered_and_the_connection_closed(
    program: Program, request_bytes: bytes, status: int
) -> None:
    assert exchange(program, request_bytes).startswith(b"HTTP/1.1 %d " % status)
    assert program.status()["rejected"] == 1


def test_other_methods_and_unknown_pages_are_refused_and_the_connection_stays(program: Program) -> None:
    for method, target, status in (("PUT", "/", 405), ("DELETE", "/files", 405), ("GET", "/nothing", 404)):
        program.connection.request(method, target, body=b"x" if method == "PUT" else None)
        answer = program.connection.getresponse()
        assert answer.status == status
        answer.read()
    assert program.get("/file")[0] == 400
    assert program.get("/file?path_base64=bm8=")[0] == 404


def test_requests_that_come_in_small_pieces_or_all_at_once_are_answered_in_order(program: Program) -> None:
    first, second, last = (signed_request(program, path) for path in (b"1", b"2", b"3"))
    last = last.replace(b"Host: receiver", b"Host: receiver\r\nConnection: close")
    third = b"GET /file?path_base64=Mg== HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = exchange(program, first[:30], first[30:300], first[300:] + second + third + last)
    assert answer.count(b"HTTP/1.1 204 No Content\r\n") == 3
    assert answer.index(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2") > answer.index(b"204")
    assert answer.endswith(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    assert program.status()["files"] == 3


def test_a_client_that_asks_first_is_told_to_continue(program: Program) -> None:
    request = signed_request(program, b"1", "Expect: 100-continue", "Connection: close")
    head, body = request[: request.index(b"\r\n\r\n") + 4], request[request.index(b"\r\n\r\n") + 4 :]
    answer = exchange(program, head, body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 ")


def test_a_client_that_stops_sending_still_gets_its_answer(program: Program) -> None:
    with socket.create_connection(("127.0.0.1", program.port), timeout=10) as client:
        client.sendall(signed_request(program, b"1"))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65536).startswith(b"HTTP/1.1 204")


def test_a_long_listing_is_streamed_and_does_not_hold_up_webhooks(program: Program) -> None:
    count = 6_000
    for start in range(0, count, 500):
        items = [(f"i{n}", "file.created", whole_file(b"dir/%06d" % n, b"")) for n in range(start, start + 500)]
        assert program.send_batch(*items) == 204
    with socket.create_connection(("127.0.0.1", program.port), timeout=10) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /files HTTP/1.1\r\nHost: x\r\n\r\n")
        assert program.send_file("file.created", whole_file(b"late", b"x")) == 204
    lines = program.listed()
    assert len(lines) == count + 1
    assert lines[0]["mode"] == "100644"


def test_the_rate_is_of_the_last_seconds(program: Program) -> None:
    for number in range(20):
        program.send_file("file.created", whole_file(b"%d" % number, b"x"))
    deadline = time.monotonic() + 5
    while program.status()["rate"] != 4.0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert program.status()["rate"] == 4.0
