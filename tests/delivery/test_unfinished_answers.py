"""Answers that begin and do not end: dripped byte by byte, silent, or broken off."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from syncsvc.delivery.answers import Answer
from syncsvc.types import ErrorKind
from tests.delivery.asking import ask
from tests.receiver import Misbehaviour, Receiver, reset

HEAD = b"HTTP/1.1 %d Scripted\r\nContent-Length: 1000\r\nRetry-After: 7\r\n\r\n"
CHUNKED = b"HTTP/1.1 %d Scripted\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
# How far an answer gets; there it stops or ends, or its rest drips, as many bytes as there is time for.
ANSWERS = {
    "nothing": (b"", b"HTTP/1.1 200 OK\r\nX: "),
    "half a status line": (b"HTTP/1.", b"1 200 OK\r\nX: "),
    "informational answers": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20),
    "half the headers": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Half", b"-There: "),
    "half a body": (HEAD % 200 + b"half", b""),
    "half the chunks": (CHUNKED % 200, b"1000\r\n"),
    "half a chunk": (CHUNKED % 200 + b"1000\r\nhalf", b""),
    "no last chunk": (CHUNKED % 200 + b"0\r\n", b"X: "),
}


def drip(beginning: bytes, rest: bytes = b"") -> Misbehaviour:
    """A byte at a time, for ever: never silent for long."""

    def misbehave(connection: socket.socket) -> None:
        connection.sendall(beginning)
        with suppress(OSError):
            for byte in rest + b"1" * 900:
                time.sleep(0.02)
                connection.sendall(bytes([byte]))

    return misbehave


def stop(beginning: bytes) -> Misbehaviour:
    def misbehave(connection: socket.socket) -> None:
        connection.sendall(beginning)
        connection.recv(1)  # until the sender has had enough

    return misbehave


def end(beginning: bytes) -> Misbehaviour:
    return lambda connection: connection.sendall(beginning)


def break_off(beginning: bytes) -> Misbehaviour:
    def misbehave(connection: socket.socket) -> None:
        connection.sendall(beginning)
        time.sleep(0.05)  # a reset would overtake it
        reset(connection)

    return misbehave


def asked(misbehave: Misbehaviour, *, timeout: float = 5) -> Answer:
    with Receiver(lambda _headers, _body: misbehave) as receiver:
        return ask(receiver.url, timeout=timeout)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_drips_ends_at_the_time_out(answer: str) -> None:
    got = asked(drip(*ANSWERS[answer]), timeout=0.4)
    assert got.error_kind is ErrorKind.ENDPOINT_TIMEOUT
    assert "within 0.4 s" in got.error
    assert 0.3 < got.seconds < 2


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_stops_ends_at_the_time_out(answer: str) -> None:
    got = asked(stop(ANSWERS[answer][0]), timeout=0.4)
    assert got.error_kind is ErrorKind.ENDPOINT_TIMEOUT
    assert "within 0.4 s" in got.error


@pytest.mark.parametrize("go_on", [end, break_off])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_breaks_off_is_no_acknowledgement(go_on: Callable[[bytes], Misbehaviour], answer: str) -> None:
    got = asked(go_on(ANSWERS[answer][0]))
    assert got.error_kind in {ErrorKind.ENDPOINT_UNREACHABLE, ErrorKind.ENDPOINT_ERROR}
    assert got.error


@pytest.mark.parametrize("head", [HEAD, CHUNKED])
@pytest.mark.parametrize(
    ("go_on", "kind", "words"),
    [
        (stop, ErrorKind.ENDPOINT_TIMEOUT, "did not end within 0.4 s"),
        (end, ErrorKind.ENDPOINT_UNREACHABLE, "ended the connection"),
        (break_off, ErrorKind.ENDPOINT_UNREACHABLE, "ended the connection"),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_status_that_accepts_with_an_answer_that_does_not_end_is_called_that(
    head: bytes, go_on: Callable[[bytes], Misbehaviour], kind: ErrorKind, words: str, status: int
) -> None:
    """An operator who reads 200 and a failure must see why it failed."""
    answer = asked(go_on(head % status), timeout=0.4)
    assert (answer.status, answer.error_kind) == (status, kind)
    assert f"answered {status}" in answer.error
    assert "did not end" in answer.error
    assert words in answer.error


@pytest.mark.parametrize("go_on", [stop, end, break_off])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, ErrorKind.ENDPOINT_REJECTED),
        (401, ErrorKind.ENDPOINT_REJECTED),
        (408, ErrorKind.ENDPOINT_TIMEOUT),
        (410, ErrorKind.ENDPOINT_GONE),
        (429, ErrorKind.ENDPOINT_THROTTLED),
        (500, ErrorKind.ENDPOINT_ERROR),
        (503, ErrorKind.ENDPOINT_THROTTLED),
    ],
)
def test_a_status_that_refuses_is_believed_however_its_answer_ends(
    go_on: Callable[[bytes], Misbehaviour], status: int, kind: ErrorKind
) -> None:
    answer = asked(go_on(HEAD % status), timeout=0.4)
    assert (answer.status, answer.error_kind) == (status, kind)
    assert str(status) in answer.error
    assert answer.retry_after == (7 if kind is ErrorKind.ENDPOINT_THROTTLED else None)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_an_answer_that_ends_with_its_connection_is_whole(version: bytes) -> None:
    answer = asked(end(version + b" 200 OK\r\n\r\nthanks"))
    assert (answer.status, answer.error_kind, answer.body) == (200, None, b"thanks")
