from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest

from syncsvc.egress.addresses import AddressPolicy

# The first and last address of each is refused, in every form that reaches it.
SPECIAL_IPV4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
]
SPECIAL_IPV6 = [
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2620:4f:8000::/48",
    "3ffe::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]

PUBLIC = [
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2001:4860:4860::8888",
    "2a00:1450:4001:800::200e",
    "::ffff:8.8.8.8",  # IPv4-mapped
    "64:ff9b::8.8.8.8",  # NAT64
]
FORBIDDEN = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",  # carrier-grade NAT
    "100.100.100.200",  # a cloud's metadata inside it
    "127.0.0.1",
    "127.8.9.10",
    "168.63.129.16",  # Azure's
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a00:1%eth0",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::1",  # 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::",  # 6to4 of 169.254.169.254
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    "localhost",
    "example.com",
    "",
    "1",
    "0x7f.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressPolicy([]).permits(address)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_other_addresses_are_not(address: str) -> None:
    policy = AddressPolicy([])
    assert not policy.permits(address)
    assert not policy.permits(address)  # nor when it was asked before


def ends(text: str) -> list[str]:
    network = ip_network(text)
    return [str(network[0]), str(network[-1])]


def forms(ipv4: IPv4Address) -> dict[str, str]:
    """The ways to write an IPv4 address as IPv6 that some machine on the way turns into IPv4 again."""
    number = int(ipv4)
    return {
        "mapped": str(IPv6Address(0xFFFF << 32 | number)),
        "compatible": str(IPv6Address(number)),
        "translated": str(IPv6Address(0xFFFF << 48 | number)),
        "NAT64": str(IPv6Address((0x64FF9B << 96) | number)),
        "local NAT64": str(IPv6Address(int(IPv6Address("64:ff9b:1::")) | number)),
        "6to4": str(IPv6Address(0x2002 << 112 | number << 80 | 1)),
        "Teredo client": str(IPv6Address(0x2001 << 112 | 0x08080808 << 64 | number ^ 0xFFFF_FFFF)),
        "Teredo server": str(IPv6Address(0x2001 << 112 | number << 64 | 0x08080808 ^ 0xFFFF_FFFF)),
        "ISATAP": str(IPv6Address(int(IPv6Address("2a00:1450:4001:800::")) | 0x0000_5EFE << 32 | number)),
        "ISATAP, global": str(IPv6Address(int(IPv6Address("2a00:1450:4001:800::")) | 0x0200_5EFE << 32 | number)),
    }


@pytest.mark.parametrize("network", [*SPECIAL_IPV4, *SPECIAL_IPV6])
def test_no_special_range_is_permitted(network: str) -> None:
    """The IANA special-purpose registries as of 2026, multicast and metadata services; none by Python's own list."""
    policy = AddressPolicy([])
    assert [address for address in ends(network) if policy.permits(address)] == []


@pytest.mark.parametrize("network", SPECIAL_IPV4)
def test_no_special_ipv4_address_is_permitted_inside_ipv6(network: str) -> None:
    policy = AddressPolicy([])
    for address in ends(network):
        found = {name: form for name, form in forms(IPv4Address(address)).items() if policy.permits(form)}
        assert found == {}, address


def test_the_neighbours_of_special_ranges_are_permitted() -> None:
    policy, special = AddressPolicy([]), [IPv4Network(text) for text in SPECIAL_IPV4]
    around = {int(network[0]) - 1 for network in special} | {int(network[-1]) + 1 for network in special}
    neighbours = [IPv4Address(number) for number in around if 0 <= number < 1 << 32]
    public = [address for address in neighbours if not any(address in network for network in special)]
    assert len(public) > 25
    assert [address for address in public if not policy.permits(str(address))] == []
    assert all(policy.permits(text) for text in ("2000::1", "2001:200::1", "3ffd::1", "3fff:1000::1"))


# RFC 6052, section 2.4: 192.0.2.33 behind prefixes of each length.
NAT64 = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
]


@pytest.mark.parametrize(("prefix", "address"), NAT64)
def test_an_address_behind_a_nat64_prefix_is_judged_by_the_ipv4_address(prefix: str, address: str) -> None:
    assert not AddressPolicy([], [prefix]).permits(address)
    assert AddressPolicy(["192.0.2.33/32"], [prefix]).permits(address)
    assert not AddressPolicy(["192.0.2.32/32"], [prefix]).permits(address)


def test_a_public_ipv4_address_behind_a_nat64_prefix_is_permitted() -> None:
    inside, outside = "fd00:64::8.8.8.8", "fd00:65::8.8.8.8"
    policy = AddressPolicy([], ["fd00:64::/96"])
    assert policy.permits(inside)
    assert not policy.permits(outside)
    assert not AddressPolicy([]).permits(inside)


def test_an_internal_address_behind_a_public_prefix_is_refused_where_the_prefix_is_known() -> None:
    prefix = IPv6Network("2a00:1450:64::/96")
    address = str(IPv6Address(int(prefix[0]) | int(IPv4Address("10.0.0.1"))))
    assert not AddressPolicy([], [str(prefix)]).permits(address)


@pytest.mark.parametrize("text", ["", "10.0.0.0/8", "64:ff9b::/95", "64:ff9b::1/96", "2001:db8::/128", "fd00"])
def test_what_is_no_nat64_prefix_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write (?:a CIDR|an IPv6 network) like"):
        AddressPolicy([], [text])


@pytest.mark.parametrize(
    ("network", "address", "permitted"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "64:ff9b::127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8", "10.0.0.1", False),
        (" 10.1.2.3 ", "10.1.2.3", True),
        ("10.1.2.3/32", "10.1.2.4", False),
        ("::1/128", "::1", True),
        ("::/0", "::ffff:127.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", True),
        ("0.0.0.0/0", "169.254.169.254", True),
        ("127.0.0.0/8", "2002:7f00:1::1", False),
    ],
)
def test_listed_networks_are_permitted_and_no_more(network: str, address: str, permitted: bool) -> None:
    assert AddressPolicy([network]).permits(address) is permitted


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "10.0.0.1/8", "internal", "fd00::/129"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a network .* write a CIDR like 10\.0\.0\.0/8"):
        AddressPolicy([text])
