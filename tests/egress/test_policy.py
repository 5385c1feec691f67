import threading

import pytest

from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.lookup import UnknownHostError
from syncsvc.egress.policy import Egress, RefusedError
from syncsvc.egress.ports import PortPolicy


class Names:
    """A name service whose answers change: each name has a list of them, the last of which stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): found for name, found in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        found = self.answers[host]
        return found.pop(0) if len(found) > 1 else found[0]


def egress(names: Names | None = None, *, networks: tuple[str, ...] = (), ports: tuple[str, ...] = ("443",)) -> Egress:
    given = {"lookup": names} if names else {}
    return Egress(AddressPolicy(networks), PortPolicy(ports), "GIT_ALLOWED_NETWORKS", "GIT_ALLOWED_PORTS", **given)


def test_a_name_is_asked_once_and_its_checked_addresses_are_returned_in_their_order() -> None:
    names = Names(a_example=[["2a00:1450::1", "8.8.8.8"], ["127.0.0.1"]])
    assert egress(names).resolve("a.example", 443, timeout=5) == ["2a00:1450::1", "8.8.8.8"]
    assert names.asked == ["a.example"]


def test_of_a_name_with_internal_addresses_too_the_public_ones_remain() -> None:
    names = Names(a_example=[["10.0.0.1", "8.8.8.8", "::1", "fe80::1%eth0", "::ffff:127.0.0.1"]])
    assert egress(names).resolve("a.example", 443, timeout=5) == ["8.8.8.8"]


def test_of_thousands_of_addresses_a_few_are_tried() -> None:
    answer = [f"8.8.{number // 250}.{number % 250}" for number in range(4000)]
    assert egress(Names(a_example=[answer])).resolve("a.example", 443, timeout=5) == answer[:8]
    hidden = [f"10.0.{number // 250}.{number % 250}" for number in range(4000)] + ["8.8.8.8"]
    assert egress(Names(a_example=[hidden])).resolve("a.example", 443, timeout=5) == ["8.8.8.8"]


@pytest.mark.parametrize("address", ["10.9.8.7", "fd00:9:8::7", "::ffff:10.9.8.7", "64:ff9b::10.9.8.7"])
def test_a_refusal_names_the_setting_and_not_the_address(address: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        egress(Names(a_example=[[address]])).resolve("a.example", 443, timeout=5)
    text = str(refusal.value)
    assert "a.example" in text
    assert "GIT_ALLOWED_NETWORKS" in text
    assert address not in text
    assert "10.9" not in text


def test_a_listed_network_is_permitted() -> None:
    names = Names(a_example=[["10.9.8.7", "10.10.0.1"]])
    assert egress(names, networks=("10.9.0.0/16",)).resolve("a.example", 443, timeout=5) == ["10.9.8.7"]


def test_a_port_that_is_not_listed_is_refused_before_the_name_is_asked() -> None:
    names = Names(a_example=[["8.8.8.8"]])
    with pytest.raises(RefusedError, match=r"Port 6379 .* GIT_ALLOWED_PORTS"):
        egress(names).resolve("a.example", 6379, timeout=5)
    assert names.asked == []
    assert egress(names, ports=("*",)).resolve("a.example", 6379, timeout=5) == ["8.8.8.8"]


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "", "22 ", "²²", "1.5", "**"])
def test_what_is_no_port_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a port; write numbers like 22,443"):
        PortPolicy([text])


@pytest.mark.parametrize(
    "host",
    [
        *("0", "1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1"),
        *(
            "127.0.0.1.",
            "127.0.0.01",
            "8.8.8.8.",
            "8.8.8",
            "0x8.0x8.0x8.0x8",
            "0x",
            "a.0x",
            "a.1",
            "1.2.3.4.5",
            "256.1.1.1",
        ),
    ],
)
def test_a_host_that_programs_read_in_different_ways_is_refused(host: str) -> None:
    with pytest.raises(RefusedError, match="four decimal numbers"):
        egress(Names()).resolve(host, 443, timeout=5)


def test_literal_addresses_need_no_name_service() -> None:
    assert egress().resolve("8.8.8.8", 443, timeout=5) == ["8.8.8.8"]
    assert egress().resolve("2a00:1450:4001:800::200e", 443, timeout=5) == ["2a00:1450:4001:800::200e"]
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0.0.0.0", "localhost"):
        with pytest.raises(RefusedError):
            egress().resolve(host, 443, timeout=5)


def unknown(host: str, port: int) -> list[str]:
    raise OSError("no such name")


def nothing(host: str, port: int) -> list[str]:
    return []


def test_a_name_without_addresses_is_unknown() -> None:
    for lookup in (unknown, nothing):
        policy = Egress(AddressPolicy(), PortPolicy(["443"]), "A", "B", lookup=lookup)
        with pytest.raises(UnknownHostError):
            policy.resolve("a.example", 443, timeout=5)


def test_a_name_service_that_does_not_answer_is_given_up() -> None:
    end, looks = threading.Event(), []

    def slow(host: str, port: int) -> list[str]:
        end.wait(60)
        return ["8.8.8.8"]

    class Stopped(Exception):
        pass

    def interrupt() -> None:
        looks.append(1)
        raise Stopped

    policy = Egress(AddressPolicy(), PortPolicy(["443"]), "A", "B", lookup=slow)
    try:
        with pytest.raises(UnknownHostError):
            policy.resolve("a.example", 443, timeout=0.05)
        with pytest.raises(Stopped):
            policy.resolve("a.example", 443, timeout=30, interrupt=interrupt)
        assert looks == [1]
    finally:
        end.set()


def test_a_host_that_cannot_be_a_name_is_unknown() -> None:
    for host in ("a..example", "a" * 64 + ".example"):
        with pytest.raises(UnknownHostError):
            egress().resolve(host, 443, timeout=30)
