"""Transports between runs, with the connections that they keep alive: a small run pays for no handshake of its own."""

import threading
import time
from functools import cache

from django.conf import settings

from syncsvc import __version__
from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.delivery.transport import Transport
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.proxy import Proxy
from syncsvc.sync.cargo import Sent
from syncsvc.sync.proxy import egress_proxy

USER_AGENT = f"syncsvc/{__version__}"
# What nobody has wanted for so long is closed when another is.
IDLE_SECONDS = 60.0

type Terms = tuple[tuple[str, ...], tuple[str, ...], float, Proxy | None, TlsTerms | None]


class Transports:
    """Those of this process that no run has; the last used is given first. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[tuple[float, Terms, Transport[Sent]]] = []
        self._lock = threading.Lock()

    def take(self, tls: TlsTerms | None = None) -> Transport[Sent]:
        """`tls` are the app's own terms: a connection that was opened by them is used by that app alone."""
        terms = _terms(tls)
        with self._lock:
            for index in reversed(range(len(self._idle))):
                if self._idle[index][1] == terms:
                    return self._idle.pop(index)[2]
        networks, nat64_prefixes, connect_timeout, proxy, _ = terms
        return Transport(
            _policy(networks, nat64_prefixes),
            connect_timeout=connect_timeout,
            user_agent=USER_AGENT,
            proxy=proxy,
            tls=tls,
        )

    def give_back(self, transport: Transport[Sent]) -> None:
        """Nothing may be in flight in it."""
        now = time.monotonic()
        with self._lock:
            self._idle.append((now, _terms(transport.tls), transport))
            keep = max(0, len(self._idle) - settings.WORKER_THREADS)
            old = [place for n, place in enumerate(self._idle) if n < keep or now - place[0] > IDLE_SECONDS]
            self._idle = [place for place in self._idle if place not in old]
        for _, _, closing in old:
            closing.close()


def _terms(tls: TlsTerms | None) -> Terms:
    return (
        tuple(settings.WEBHOOK_ALLOWED_NETWORKS),
        tuple(settings.NAT64_PREFIXES),
        settings.WEBHOOK_CONNECT_TIMEOUT,
        egress_proxy(),
        tls,
    )


@cache
def _policy(networks: tuple[str, ...], nat64_prefixes: tuple[str, ...]) -> AddressPolicy:
    return AddressPolicy(networks, nat64_prefixes)


TRANSPORTS = Transports()
