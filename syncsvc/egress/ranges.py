"""Address ranges that are no public host's: our own list, so that no Python release changes what is reached.

Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890), all entries, globally reachable or
not: none is the address of a server that syncsvc has to reach. Beside them multicast, and what clouds have taken.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

SPECIAL_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network (RFC 791); Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598); a cloud's metadata inside it
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's services for its machines; public by number alone
        "169.254.0.0/16",  # link-local (RFC 3927), where clouds keep their metadata
        "172.16.0.0/12",  # private (RFC 1918)
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890); a cloud's metadata inside it
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private (RFC 1918)
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved (RFC 1112), with 255.255.255.255
    )
)

# All that is handed out to hosts (RFC 4291, section 2.4). Outside lie ::1, fc00::/7, fe80::/10, ff00::/8, 100::/64,
# 100:0:0:1::/64, 5f00::/16, 64:ff9b:1::/48, ::/96 and whatever is assigned later.
GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID and others
        "2001:db8::/32",  # documentation (RFC 3849)
        "2620:4f:8000::/48",  # AS112 (RFC 7534)
        "3ffe::/16",  # 6bone, given back (RFC 3701)
        "3fff::/20",  # documentation (RFC 9637)
    )
)


def is_special(address: Address) -> bool:
    """True for an address that no public host has; IPv4 inside IPv6 is looked at elsewhere."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in SPECIAL_IPV4)
    return address not in GLOBAL_UNICAST or any(address in network for network in SPECIAL_IPV6)
