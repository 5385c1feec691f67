"""Which addresses and URLs webhooks may go to."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from syncsvc.exceptions import InvalidUrlError

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
# What the ipaddress module takes for public and is not: Azure's metadata, the 6to4 relays, NAT64 of one's own network.
NOT_PUBLIC: tuple[Network, ...] = (IPv4Network("168.63.129.16/32"), IPv4Network("192.88.99.0/24"), LOCAL_NAT64)
NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")


class AddressPolicy:
    """Public addresses only, and those of `allowed_networks` (CIDRs); ValueError for what is no CIDR."""

    def __init__(self, allowed_networks: Sequence[str] = ()) -> None:
        self._allowed = tuple(_network(text) for text in allowed_networks)
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
        if address in NAT64:
            return self._allows(IPv4Address(int(address) & 0xFFFF_FFFF))
        return _is_public(address) and all(self._allows(inner) for inner in _tunnelled(address))


def check_webhook_url(url: str) -> str:
    """The URL without surrounding space; the host's address is checked later, when it is connected to."""
    url = url.strip()
    if NOT_IN_A_URL.search(url) or not url.isascii():
        raise InvalidUrlError(
            "The URL has a space, a backslash or a character outside ASCII;"
            " write those percent-encoded, and an international host name in its xn-- form."
        )
    if "#" in url:
        raise InvalidUrlError("The URL has a fragment (from # on), which is never sent; leave it out.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrlError(
            "The URL's host or port is not valid; write it like https://example.com:8443/hook."
        ) from None
    _check_parts(parts, port)
    return url


def _check_parts(parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in {"http", "https"}:
        raise InvalidUrlError(
            "A webhook URL begins with https:// (or http://); write it like https://example.com/hook."
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidUrlError(
            "The URL holds a user name or password; leave them out. Webhooks are signed: the endpoint verifies that."
        )
    if not parts.hostname:
        raise InvalidUrlError("The URL has no host; write it like https://example.com/hook.")
    if port == 0:
        raise InvalidUrlError("Port 0 cannot be connected to; write the endpoint's own port, or none.")


def _network(text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network ({error}); write a CIDR like 10.0.0.0/8 or fd00::/8.") from None


def _is_public(address: Address) -> bool:
    local = isinstance(address, IPv6Address) and address.is_site_local
    special = address.is_multicast or address.is_reserved or address.is_unspecified or local
    return address.is_global and not special and not any(address in network for network in NOT_PUBLIC)


def _tunnelled(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that a 6to4 or Teredo address leads to (RFC 3056, RFC 4380)."""
    if isinstance(address, IPv4Address):
        return []
    return [inner for inner in (address.sixtofour, *(address.teredo or ())) if inner]
