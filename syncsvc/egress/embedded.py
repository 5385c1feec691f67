"""The IPv4 addresses that an IPv6 address leads to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

WELL_KNOWN_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
NAT64_LENGTHS = (32, 40, 48, 56, 64, 96)
# The interface identifiers of ISATAP (RFC 5214), the last 32 bits of which are an IPv4 address.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def nat64_address(address: IPv6Address, prefixes: Sequence[IPv6Network]) -> IPv4Address | None:
    """The IPv4 address that a translator with one of these prefixes connects to; None outside them.

    RFC 6052, section 2.2: the IPv4 address follows the prefix, but skips bits 64 to 71.
    """
    for prefix in prefixes:
        if address in prefix:
            return _translated(address, prefix.prefixlen)
    return None


def tunnelled(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that 6to4, Teredo and ISATAP send a packet for this address to (RFC 3056, 4380, 5214)."""
    found = [inner for inner in (address.sixtofour, *(address.teredo or ())) if inner]
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return found


def _translated(address: IPv6Address, length: int) -> IPv4Address:
    if length == 96:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    data = address.packed
    without_gap = data[:8] + data[9:]  # byte 8 is always zero
    begin = length // 8
    return IPv4Address(without_gap[begin : begin + 4])
