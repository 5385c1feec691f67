"""The proxy of the setting EGRESS_PROXY."""

from functools import cache

from django.conf import settings

from syncsvc.egress.proxy import Proxy, read_proxy


def egress_proxy() -> Proxy | None:
    """None where connections are made directly. ValueError where the setting is wrong, which the start refuses."""
    return _proxy(settings.EGRESS_PROXY)


@cache
def _proxy(text: str) -> Proxy | None:
    return read_proxy(text)
