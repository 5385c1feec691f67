"""How git is led to the addresses of a remote that were checked, so that it asks no name service itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.lookup import UnknownHostError
from syncsvc.egress.policy import Egress, RefusedError
from syncsvc.egress.ports import PortPolicy
from syncsvc.egress.proxied import check_proxied
from syncsvc.egress.proxy import Proxy
from syncsvc.exceptions import GitError, NotAskedError
from syncsvc.git.complaints import NO_HOST
from syncsvc.git.detour import config_through, environment_through
from syncsvc.git.environment import proxied
from syncsvc.git.url import place_of, scheme_of
from syncsvc.types import ErrorKind

HTTP = frozenset({"http", "https"})
PORTS = ("22", "80", "443", "9418")


def git_egress(
    networks: Sequence[str] = (),
    ports: Sequence[str] = PORTS,
    nat64_prefixes: Sequence[str] = (),
    proxy: Proxy | None = None,
) -> Egress:
    """ValueError for what is no network, port or prefix."""
    addresses = AddressPolicy(networks, nat64_prefixes)
    return Egress(addresses, PortPolicy(ports), "GIT_ALLOWED_NETWORKS", "GIT_ALLOWED_PORTS", proxy=proxy)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a remote. `url` is what git is given; `address` is where it connects, blank where curl chooses."""

    url: str
    config: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def routes_to(
    url: str, egress: Egress, *, timeout: float, interrupt: Callable[[], None] | None = None
) -> Sequence[Route]:
    """The ways to a checked URL, in the order to try them: curl tries several addresses by itself, the others one.

    NotAskedError where host or port are refused; git_unreachable where the name has no address within `timeout`
    seconds.
    """
    scheme = scheme_of(url)
    config: dict[str, str | Sequence[str]] = {f"protocol.{scheme}.allow": "always"}
    if scheme == "file":
        return [Route(url, config)]
    host, port = place_of(url)
    try:
        if egress.proxy:
            return [_through(egress.proxy, url, config, egress, timeout=timeout, interrupt=interrupt)]
        addresses = egress.resolve(host, port, timeout=timeout, interrupt=interrupt)
    except RefusedError as error:
        raise NotAskedError(ErrorKind.GIT_FORBIDDEN_ADDRESS, str(error)) from error
    except UnknownHostError as error:
        raise GitError(ErrorKind.GIT_UNREACHABLE, NO_HOST) from error
    if scheme in HTTP:
        return [Route(url, config | proxied(url, "") | _pinned(host, port, addresses))]
    if scheme == "git":
        return [_to_address(url, config, address) for address in addresses]
    return [Route(url, config, address=address) for address in addresses]


def _through(
    proxy: Proxy,
    url: str,
    config: Mapping[str, str | Sequence[str]],
    egress: Egress,
    *,
    timeout: float,
    interrupt: Callable[[], None] | None,
) -> Route:
    """The one way there is; the proxy finds the addresses of the host."""
    scheme, (host, port) = scheme_of(url), place_of(url)
    egress.check_port(port)
    check_proxied(
        host,
        port,
        addresses=egress.addresses,
        setting=egress.networks_setting,
        timeout=timeout,
        lookup=egress.lookup,
        interrupt=interrupt,
    )
    return Route(
        url,
        {**config, **config_through(scheme, proxy, url)},
        environment_through(scheme, proxy, host, port, seconds=timeout),
        address=host if scheme == "ssh" else "",
    )


def _pinned(host: str, port: int, addresses: Sequence[str]) -> dict[str, str | Sequence[str]]:
    """curl looks up no name, and git follows no redirect: that would lead to a place that was not checked.

    `*` also holds for hosts that curl writes in another way than the URL does, and for whatever else it would look up
    at this port; libcurl before 7.64 does not know it.
    """
    places = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
    return {
        "http.curloptResolve": [f"*:{port}:{places}", *([] if ":" in host else [f"{host}:{port}:{places}"])],
        "http.followRedirects": "false",
    }


def _to_address(url: str, config: Mapping[str, str | Sequence[str]], address: str) -> Route:
    """git connects to what its URL says; the server is told the name by which it was asked for."""
    parts = urlsplit(url)
    place = f"[{address}]" if ":" in address else address
    netloc = f"{place}:{parts.port}" if parts.port else place
    env = {"GIT_OVERRIDE_VIRTUAL_HOST": parts.netloc}
    return Route(urlunsplit(parts._replace(netloc=netloc)), config, env, address)
