"""Nothing inside is ever connected to, by any way out, whatever stands in a URL and whatever a name server says."""

import os
from ipaddress import ip_address

import pytest

from tests.egress.world import Visit, can_begin, corpus, visit

WEBHOOKS = ["delivery", "delivery over TLS", "probe", "ping"]
GIT = ["git over http", "git over https", "git protocol", "ssh"]
STRICT = {"WEBHOOK_ALLOWED_NETWORKS": "", "GIT_ALLOWED_NETWORKS": "", "GIT_ALLOWED_PORTS": "22,80,443,9418"}
# Public all right, but git's URLs have an IPv4 address in its usual form only.
NOT_FOR_GIT = {"134744072", "0x8.0x8.0x8.0x8"}
INSIDE = list(corpus()["inside"])
OUTSIDE = list(corpus()["outside"])
EITHER = list(corpus()["either"])
PUBLIC = {
    "8.8.8.8",
    "87.0.0.1",
    "17.99.141.27",
    "172.32.0.1",
    "100.128.0.1",
    "169.253.255.255",
    "2606:4700:4700::1111",
    "64:ff9b::808:808",
}


@pytest.fixture(autouse=True, scope="module")
def world() -> None:
    if not can_begin():
        assert "CI" not in os.environ, "CI must be allowed to make namespaces"
        pytest.skip("this machine lets nobody make network namespaces")


def test_the_corpus_is_large_and_gives_reasons() -> None:
    assert len(INSIDE) + len(OUTSIDE) >= 150
    assert all(reason for section in ("inside", "outside", "either") for reason in corpus()[section].values())
    assert not set(INSIDE) & set(OUTSIDE)


@pytest.mark.parametrize("ways", [WEBHOOKS, GIT], ids=["webhooks", "git"])
def test_nothing_inside_is_connected_to(ways: list[str]) -> None:
    visits = visit(ways, INSIDE, **STRICT)
    assert len(visits) >= len(INSIDE) * len(ways)
    assert [each for each in visits if each.connected] == []
    assert [each for each in visits if not each.kind] == []
    assert [each for each in visits if _tells(each)] == [], "which address a name led to is nobody's business"


@pytest.mark.parametrize("ways", [WEBHOOKS, GIT], ids=["webhooks", "git"])
def test_of_what_leads_outside_only_public_addresses_are_connected_to(ways: list[str]) -> None:
    visits = visit(ways, [*OUTSIDE, *EITHER], **STRICT)
    assert [each for each in visits if not {address for address, _ in each.connected} <= PUBLIC] == []
    reached = {(each.way, each.host) for each in visits if each.connected}
    assert reached >= {(way, host) for way in ways for host in OUTSIDE if way not in GIT or host not in NOT_FOR_GIT}


@pytest.mark.parametrize("ways", [WEBHOOKS, GIT], ids=["webhooks", "git"])
def test_the_canaries_see_what_is_let_inside(ways: list[str]) -> None:
    """So that the tests above can fail: where everything is allowed the same forms reach what is inside."""
    everything = dict.fromkeys(("WEBHOOK_ALLOWED_NETWORKS", "GIT_ALLOWED_NETWORKS"), "0.0.0.0/0,::/0")
    visits = visit(ways[:1], INSIDE, **everything)
    reached = [each for each in visits if _is_inside(each)]
    versions = [ip_address(each.connected[0][0]).version for each in reached]
    assert len(reached) > 120
    assert {4, 6} <= set(versions)


def _tells(each: Visit) -> bool:
    answers = corpus()["names"].get(each.host, [])
    text = each.text.replace(each.host, "")
    return any(address in text for address in answers if address not in {"::", "::1"})


def _is_inside(each: Visit) -> bool:
    return any(address not in PUBLIC for address, _ in each.connected)
