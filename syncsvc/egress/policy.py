"""One way out of this machine: which hosts and ports it may connect to, decided for each connection."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from syncsvc.egress.addresses import AddressPolicy, not_public
from syncsvc.egress.lookup import Lookup, look_up, system_lookup
from syncsvc.egress.ports import PortPolicy
from syncsvc.egress.proxy import Proxy

# A name server can give thousands; each costs a git, or a second of waiting for ssh.
MOST_ADDRESSES = 8
# Resolvers and curl read such a host as an IPv4 address in forms of their own: 0x7f.1, 2130706433, 127.1.
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")


class RefusedError(Exception):
    """The policy refuses a host or a port; the message names the setting, and no address that a name led to."""


@dataclass(frozen=True, slots=True)
class Egress:
    """`networks_setting` and `ports_setting` are the settings that allow more; `lookup` finds a name's addresses.

    With a `proxy` every connection goes through it: `syncsvc.egress.proxied` says what it is asked for.
    """

    addresses: AddressPolicy
    ports: PortPolicy
    networks_setting: str
    ports_setting: str
    lookup: Lookup = system_lookup
    proxy: Proxy | None = None

    def resolve(
        self, host: str, port: int, *, timeout: float, interrupt: Callable[[], None] | None = None
    ) -> Sequence[str]:
        """The addresses to connect to, in the order to try them. Whoever connects to another one is not checked.

        `host` is a name or an address, without brackets. Of a name with several addresses those remain that may be
        connected to, MOST_ADDRESSES of them. RefusedError where none does, UnknownHostError where the name has none
        within `timeout` seconds.
        """
        self.check_port(port)
        insist_on_one_meaning(host)
        found = look_up(host, port, lookup=self.lookup, timeout=timeout, interrupt=interrupt)
        permitted = [address for address in found if self.addresses.permits(address)]
        if not permitted:
            raise RefusedError(not_public(host, self.networks_setting))
        return permitted[:MOST_ADDRESSES]

    def check_port(self, port: int) -> None:
        if not self.ports.permits(port):
            raise RefusedError(f"Port {port} is refused. Change the URL, or add the port to {self.ports_setting}.")


def insist_on_one_meaning(host: str) -> None:
    """RefusedError for a host that one program reads as an address and another one as another, or as a name."""
    if not _ENDS_IN_A_NUMBER.fullmatch(host) or ":" in host:
        return
    try:
        IPv4Address(host)
    except ValueError:
        raise RefusedError(
            f"{host} is not an IPv4 address in its usual form. Write it as four decimal numbers, like 192.0.2.1."
        ) from None
