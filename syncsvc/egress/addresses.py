"""Which addresses may be connected to: one policy for webhooks and git."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

from syncsvc.egress.embedded import NAT64_LENGTHS, WELL_KNOWN_NAT64, nat64_address, tunnelled
from syncsvc.egress.ranges import Address, Network, is_special


class AddressPolicy:
    """Public addresses only, and those of `allowed_networks` (CIDRs).

    `nat64_prefixes` are IPv6 prefixes of translators to IPv4 besides the well-known 64:ff9b::/96: an address inside one
    is judged by the IPv4 address that it leads to. ValueError for what is no CIDR, or no such prefix.
    """

    def __init__(self, allowed_networks: Sequence[str] = (), nat64_prefixes: Sequence[str] = ()) -> None:
        self._allowed = tuple(_network(text) for text in allowed_networks)
        self._nat64 = (WELL_KNOWN_NAT64, *(_nat64_prefix(text) for text in nat64_prefixes))
        self._permits = lru_cache(maxsize=4096)(self._judge)

    def permits(self, address: str) -> bool:
        """`address` as getaddrinfo gives it, a scope id included; what is no address is not permitted."""
        return self._permits(address)

    def _judge(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return self._allows(address)

    def _allows(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            return self._allows(address.ipv4_mapped)
        if any(address in network for network in self._allowed):
            return True
        if not isinstance(address, IPv6Address):
            return not is_special(address)
        if inner := nat64_address(address, self._nat64):
            return self._allows(inner)
        return not is_special(address) and not any(is_special(inner) for inner in tunnelled(address))


def not_public(host: str, setting: str) -> str:
    """What is said of a host that is refused. It does not tell the address: that would map the network inside."""
    return f"{host} leads to an address that is not public. Change the URL, or add the address's network to {setting}."


def _network(text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network ({error}); write a CIDR like 10.0.0.0/8 or fd00::/8.") from None


def _nat64_prefix(text: str) -> IPv6Network:
    network = _network(text)
    if not isinstance(network, IPv6Network) or network.prefixlen not in NAT64_LENGTHS:
        lengths = ", ".join(str(length) for length in NAT64_LENGTHS)
        raise ValueError(
            f"{text!r} is not a NAT64 prefix: write an IPv6 network like 2001:db8:64::/96, of length {lengths}."
        )
    return network
