"""A small part that is polled says when the dear ones, which are not, have something new to show."""

import time
import zlib

from django.http import HttpRequest, HttpResponse
from django_htmx.http import trigger_client_event


def version_of(*seen: object) -> str:
    """Another one as soon as something moved; and each minute, for what the rows say of time."""
    return f"{zlib.crc32(repr((seen, int(time.time() // 60))).encode()):x}"


def tell(request: HttpRequest, response: HttpResponse, version: str) -> HttpResponse:
    """The event `moved`, where the page shows another version than this."""
    if request.GET.get("v", version) != version:
        trigger_client_event(response, "moved")
    return response
