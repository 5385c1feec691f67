"""A name server for tests: it answers from a table, and can change its mind, be late, or say nothing."""

import select
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

type Answer = Sequence[str]
"""Addresses of both families, or `CNAME name`; with `LATE` they come a moment later, with `SILENCE` never."""

A, CNAME, AAAA = 1, 5, 28
LATE_SECONDS = 0.05
NO_SUCH_NAME = 3


class NameServer:
    """Serves UDP on one address and port. A name with several answers moves on to the next with each question for A."""

    def __init__(self, names: Mapping[str, Answer | Sequence[Answer]], address: str, port: int = 53) -> None:
        self._names = names
        self._answers: dict[str, list[Answer]] = {}
        self.begin_again()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def begin_again(self) -> None:
        """Each name has its first answer again."""
        self._answers = {
            name: [*answers] if answers and not isinstance(answers[0], str) else [answers]
            for name, answers in self._names.items()
        }

    def _serve(self) -> None:
        while True:
            select.select([self._socket], [], [])
            question, client = self._socket.recvfrom(4096)
            name, kind, end = _question(question)
            answers = self._answers.get(name, [])
            answer = answers[0] if answers else None
            if kind == A and len(answers) > 1:
                self._answers[name] = answers[1:]
            if answer and "SILENCE" in answer:
                continue
            reply = _reply(question[:end], kind, self._records(answer), exists=answer is not None)
            delay = LATE_SECONDS if answer and "LATE" in answer else 0
            threading.Timer(delay, self._socket.sendto, (reply, client)).start()

    def _records(self, answer: Answer | None) -> list[str]:
        """The answer, with the addresses of the names that it leads to, as a real server adds them."""
        records: list[str] = []
        for _ in range(8):  # a circle ends here
            records += [record for record in answer or () if record not in {"LATE", "SILENCE"}]
            if not records or not records[-1].startswith("CNAME "):
                break
            leads_to = self._answers.get(records[-1].removeprefix("CNAME "), [[]])
            answer = leads_to[0]
        return records


def _question(packet: bytes) -> tuple[str, int, int]:
    """Name in small letters, type, and where the question ends (RFC 1035, section 4.1.2)."""
    labels, place = [], 12
    while length := packet[place]:
        labels.append(packet[place + 1 : place + 1 + length].decode("latin-1").lower())
        place += length + 1
    (kind,) = struct.unpack_from("!H", packet, place + 1)
    return ".".join(labels), kind, place + 5


def _reply(question: bytes, kind: int, records: Sequence[str], *, exists: bool) -> bytes:
    body, count, owner = b"", 0, b"\xc0\x0c"  # the question's own name
    for record in records:
        if record.startswith("CNAME "):
            name = _name(record.removeprefix("CNAME "))
            body += owner + struct.pack("!HHIH", CNAME, 1, 0, len(name)) + name
            owner, count = name, count + 1
            continue
        address = ip_address(record)
        if kind == (A if address.version == 4 else AAAA):
            body += owner + struct.pack("!HHIH", kind, 1, 0, len(address.packed)) + address.packed
            count += 1
    flags = 0x8580 | (0 if exists else NO_SUCH_NAME)
    return question[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question[12:] + body


def _name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"
