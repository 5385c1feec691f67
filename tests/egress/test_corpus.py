"""Nothing inside is ever connected to, by any way out, whatever stands in a URL and whatever a name server says."""

from ipaddress import ip_address

import pytest

from tests.egress.world import GIT, PROXY, SCP, STRICT, WEBHOOKS, Visit, corpus, visit

ALL = [*WEBHOOKS, *GIT]
# Public all right, but git's URLs have an IPv4 address in its usual form only.
NOT_FOR_GIT = {"134744072", "0x8.0x8.0x8.0x8"}
# Names that have no address here, which a proxy may know.
UNKNOWN = {"empty.test", "nothing.test", "silent.test", "circle.test", "xn--127-0-0-1"}
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


@pytest.fixture(scope="module")
def visits(world_of_its_own: None) -> list[Visit]:
    """Every way with every form, where nothing is allowed but what is public."""
    return visit(ALL, [*INSIDE, *OUTSIDE, *EITHER], **STRICT)


def test_the_corpus_is_large_and_gives_reasons() -> None:
    assert len(INSIDE) + len(OUTSIDE) >= 150
    assert all(reason for section in ("inside", "outside", "either") for reason in corpus()[section].values())
    assert not set(INSIDE) & set(OUTSIDE)


def test_nothing_inside_is_connected_to(visits: list[Visit]) -> None:
    found = [each for each in visits if each.host in INSIDE and not _is_path(each)]
    assert len(found) > len(INSIDE) * (len(ALL) - 1)
    assert [each for each in found if each.connected] == []
    assert [each for each in found if not each.kind] == []
    assert [each for each in found if _tells(each)] == [], "which address a name led to is nobody's business"


def test_of_what_leads_outside_only_public_addresses_are_connected_to(visits: list[Visit]) -> None:
    found = [each for each in visits if each.host not in INSIDE or _is_path(each)]
    assert [each for each in found if not {address for address, _ in each.connected} <= PUBLIC] == []
    reached = {(each.way, each.host) for each in found if each.connected}
    assert reached >= {(way, host) for way in ALL for host in OUTSIDE if way not in GIT or host not in NOT_FOR_GIT}


def test_a_proxy_is_asked_for_nothing_that_is_known_to_be_inside(world_of_its_own: None) -> None:
    """And where there is one nothing is connected to but it."""
    outside = ["8.8.8.8", "public.test", "public6.test"]
    visits = visit(ALL, [*INSIDE, *outside, "mixed.test"], EGRESS_PROXY=PROXY, **STRICT)
    assert [each for each in visits if each.connected] == []
    assert [each for each in visits if not each.kind] == []
    asked = {(each.way, each.host, target.rpartition(":")[0]) for each in visits for target in each.asked}
    assert {target for _, host, target in asked if host in INSIDE} <= UNKNOWN | {"public.test"}
    reached = {(way, host) for way, host, _ in asked}
    assert reached >= {(way, host) for way in ALL for host in outside}
    assert "mixed.test" not in {host for _, host in reached}, "which address the proxy would take is not known"


@pytest.mark.parametrize("way", [WEBHOOKS[0], GIT[0]])
def test_the_canaries_see_what_is_let_inside(world_of_its_own: None, way: str) -> None:
    """So that the tests above can fail: where everything is allowed the same forms reach what is inside."""
    everything = dict.fromkeys(("WEBHOOK_ALLOWED_NETWORKS", "GIT_ALLOWED_NETWORKS"), "0.0.0.0/0,::/0")
    visits = visit([way], INSIDE, **everything)
    reached = [each for each in visits if _is_inside(each)]
    versions = [ip_address(each.connected[0][0]).version for each in reached]
    assert len(reached) > 120
    assert {4, 6} <= set(versions)


def _tells(each: Visit) -> bool:
    answers = corpus()["names"].get(each.host, [])
    text = each.text.replace(each.host, "")
    return any(address in text for address in answers if address not in {"::", "::1"})


def _is_path(each: Visit) -> bool:
    """As scp writes it a path begins behind the first colon, whatever it looks like."""
    return each.way == SCP and ":" in each.host and not each.host.startswith("[")


def _is_inside(each: Visit) -> bool:
    return any(address not in PUBLIC for address, _ in each.connected)
