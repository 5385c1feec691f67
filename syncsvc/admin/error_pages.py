"""What is answered in place of a page: what happened, what to do, in the frame of whoever is logged in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.template.loader import render_to_string
from django.urls import reverse

from syncsvc.api.problems import problem

logger = structlog.get_logger(__name__)
TEMPLATE = "admin/error.html"
MOST_QUERY = 8192  # bytes, as many as most proxies let pass; the console's own addresses have under 2,000
MOST_PARAMETERS = 200


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A title, and sentences that say what happened and what to do."""

    title: str
    text: str


PAGES = {
    400: ErrorPage(
        "Not understood",
        "The address or the form holds something that syncsvc does not take: a foreign host, too much, or a damaged"
        " value. Nothing was changed. Go back, and try it with less.",
    ),
    403: ErrorPage(
        "Not allowed",
        "You lack the permission for this. Permissions come from groups: an administrator changes them under Users.",
    ),
    404: ErrorPage("Not found", "There is no such page, or what it was about has been deleted since."),
    405: ErrorPage(
        "Only with its button",
        "This address does something, and is no page. Open the page it belongs to, and press its button there.",
    ),
    414: ErrorPage(
        "Too long an address",
        "What follows the question mark in the address has over 8,192 bytes or 200 parts. Search or filter for less at"
        " a time.",
    ),
    500: ErrorPage(
        "Something broke",
        "An error within syncsvc, not a mistake of yours; its log has the details. Nothing was half done: try again.",
    ),
}
EXPIRED = ErrorPage(
    "The page was out of date",
    "What you sent did not come from the console as it is now: it was open for long, you logged in elsewhere"
    " meanwhile, or another site sent it. Nothing was changed. Go back, reload the page, and do it again.",
)
NO_COOKIE = ErrorPage(
    "Your browser sent no cookie",
    "The console needs its cookies for whoever logs in or changes something. Nothing was changed. Allow cookies for"
    " this address, reload the page, and do it again.",
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 400, PAGES[400])


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, PAGES[403])


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, PAGES[404])


def server_error(request: HttpRequest) -> HttpResponse:
    return _answer(request, 500, PAGES[500])


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, 403, NO_COOKIE if reason == REASON_NO_CSRF_COOKIE else EXPIRED)


class QueryLengthMiddleware:
    """Bounds what a search, a filter or a list of ids in an address can cost; before anything reads the query."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if len(query) > MOST_QUERY or query.count("&") >= MOST_PARAMETERS:
            return _answer(request, 414, PAGES[414])
        return self.get_response(request)


class MethodPagesMiddleware:
    """A page for 405, which Django answers without one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != 405 or response.content or not request.path.startswith(reverse("admin:index")):
            return response
        page = _answer(request, 405, PAGES[405])
        page["Allow"] = response["Allow"]
        return page


def _answer(request: HttpRequest, status: int, page: ErrorPage) -> HttpResponse:
    if request.path.startswith(reverse("admin:index") + "api/"):
        return problem(status, page.text)
    context = {"page": page, "status": status, "title": page.title}
    try:
        text = render_to_string(TEMPLATE, {**context, **_frame(request)}, request)
    except Exception:
        if status < 500:
            raise
        # What broke may be what the frame is made of, such as the database.
        logger.exception("error_page.plain")
        text = render_to_string(TEMPLATE, {**context, "site_header": admin.site.site_header, "plain": True})
    return HttpResponse(text, status=status)


def _frame(request: HttpRequest) -> dict[str, Any]:
    """The console's frame; without navigation for who is not logged in, or before anybody has looked who that is."""
    if not hasattr(request, "user"):
        return {"site_header": admin.site.site_header, "site_title": admin.site.site_title, "plain": True}
    return {**admin.site.each_context(request), "next": request.get_full_path() if request.method == "GET" else ""}
