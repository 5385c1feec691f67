"""What may be searched for in tables of millions of rows: only what an index finds."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest

NEEDS_SUBSCRIPTION = "Paths are searched within one subscription: choose it in the filter, then search again."


def path_prefix(prefix: bytes) -> Q:
    """Paths that begin so, as a range that the index on (subscription, path) answers."""
    end = prefix.rstrip(b"\xff")
    if not end:
        return Q(path__gte=prefix)
    return Q(path__gte=prefix, path__lt=end[:-1] + bytes([end[-1] + 1]))


def path_bytes(text: str) -> bytes:
    r"""git's bytes of a path as the pages show it: `\xff` stands for a byte that is not UTF-8."""
    parts = text.split("\\x")
    raw = parts[0].encode()
    for part in parts[1:]:
        try:
            raw += bytes.fromhex(part[:2]) + part[2:].encode()
        except ValueError:
            raw += b"\\x" + part.encode()
    return raw


def within_subscription(request: HttpRequest, filters: tuple[str, ...] = ("subscription__exact",)) -> bool:
    if any(request.GET.get(name) for name in filters):
        return True
    messages.info(request, NEEDS_SUBSCRIPTION)
    return False
