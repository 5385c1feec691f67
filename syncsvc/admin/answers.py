"""What htmx gets for an action: the messages as toasts, and events that live parts listen to."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect, reswap, trigger_client_event

from syncsvc.admin.parts import is_htmx

UNAUTHORIZED = 401


def toasts(request: HttpRequest) -> list[dict[str, str]]:
    """Takes the messages that wait for the user."""
    return [{"level": m.level_tag, "text": _sentence(str(m))} for m in messages.get_messages(request)]


def with_toasts(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    if waiting := toasts(request):
        trigger_client_event(response, "toast", {"toasts": waiting})
    return response


def done(request: HttpRequest, *, changed: Any = None, content: str = "") -> HttpResponse:
    """Toasts, the dialog closed, and the events `changed` and `changed-<id>`; `content` is swapped out of band."""
    response = HttpResponse(content, status=200 if content else 204)
    reswap(response, "none")
    trigger_client_event(response, "close-dialog")
    trigger_client_event(response, "changed")
    if changed is not None:
        trigger_client_event(response, f"changed-{changed}")
    return with_toasts(request, response)


def came_from(request: HttpRequest) -> str:
    """The console's page with the button, where that is known and was not the confirmation."""
    page = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(page, request.get_host(), require_https=request.is_secure()):
        return ""
    parts = urlsplit(page)
    return "" if parts.path == request.path else urlunsplit(("", "", parts.path, parts.query, ""))


def for_htmx(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """A redirect leads the whole page on, and never puts another page into a part; to the login: it says so."""
    if not is_htmx(request) or not isinstance(response, HttpResponseRedirect):
        return response
    login = reverse("admin:login")
    if response.url.startswith(login):
        refused = HttpResponse(status=UNAUTHORIZED)
        return trigger_client_event(refused, "logged-out", {"login": login})
    return HttpResponseClientRedirect(response.url)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
