"""What is looked at before a proxy is asked for a connection; which address a name has is the proxy's to find."""

import re
from collections.abc import Callable
from ipaddress import ip_address

from syncsvc.egress.addresses import AddressPolicy, not_public
from syncsvc.egress.lookup import Lookup, UnknownHostError, look_up, system_lookup
from syncsvc.egress.policy import RefusedError, insist_on_one_meaning

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.?")
# Always this machine itself, whether it can be looked up here or not (RFC 6761, section 6.3).
_LOCALHOST = re.compile(r"(?:.*\.)?localhost\.?", re.IGNORECASE)


def check_proxied(
    host: str,
    port: int,
    *,
    addresses: AddressPolicy,
    setting: str,
    timeout: float,
    lookup: Lookup = system_lookup,
    interrupt: Callable[[], None] | None = None,
) -> None:
    """RefusedError where the host is inside, as far as this machine can tell; `setting` is what allows more.

    `host` is a name or an address, without brackets. An address must be permitted, and so must each address that a name
    has here: which one the proxy connects to is not known. A name that has none here within `timeout` seconds is the
    proxy's to judge.
    """
    if ":" in host:
        if not addresses.permits(host):
            raise RefusedError(not_public(f"[{host}]", setting))
        return
    if not _NAME.fullmatch(host):
        raise RefusedError("The URL's host is neither a name nor an address; change the URL.")
    insist_on_one_meaning(host)
    try:
        found = _known(host) or look_up(host, port, lookup=lookup, timeout=timeout, interrupt=interrupt)
    except UnknownHostError:
        return
    if not all(addresses.permits(address) for address in found):
        raise RefusedError(not_public(host, setting))


def _known(host: str) -> list[str]:
    """The addresses of a host for which no name service is needed."""
    if _LOCALHOST.fullmatch(host):
        return ["127.0.0.1", "::1"]
    try:
        return [str(ip_address(host))]
    except ValueError:
        return []
