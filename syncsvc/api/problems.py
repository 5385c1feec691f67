"""Errors as problem details (RFC 9457): what happened, and what to do."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, Throttled, ValidationError

from syncsvc.exceptions import Refused

MEDIA_TYPE = "application/problem+json"
# Every other kind of refusal is a 409.
STATUSES = {"not_found": 404, "invalid": 422, "password": 403, "unavailable": 503}
KINDS = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    414: "too_long",
    422: "invalid",
    429: "throttled",
}
MOST_ERRORS = 20  # fields that a 422 names


class FieldError(Schema):
    source: str
    field: str
    detail: str


class Problem(Schema):
    """`kind` is the word for scripts: conflict, paused, confirm, not_found, invalid, …; `errors` come with some 422."""

    type: str
    title: str
    status: int
    detail: str
    kind: str
    errors: list[FieldError] | None = None


def problem(status: int, detail: str, *, kind: str = "", **more: Any) -> HttpResponse:
    """Without a page of its own for each kind the type is `about:blank`, and the title the status's phrase."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "kind": kind or KINDS.get(status, "error"),
        **more,
    }
    return JsonResponse(document, status=status, content_type=MEDIA_TYPE)


def handle_problems(api: NinjaAPI) -> None:
    """Anything else is a bug, and Django's to report."""
    api.add_exception_handler(Refused, _refused)
    api.add_exception_handler(ValidationError, _not_valid)
    api.add_exception_handler(HttpError, _http_error)
    api.add_exception_handler(Http404, _not_found)
    api.add_exception_handler(SuspiciousOperation, _malformed)


@csrf_exempt
def unknown_address(request: HttpRequest, rest: str = "") -> HttpResponse:
    return problem(404, "The API has no such address; /admin/api/docs lists those it has.")


def _refused(request: HttpRequest, refusal: Any) -> HttpResponse:
    return problem(STATUSES.get(refusal.kind, 409), str(refusal), kind=refusal.kind)


def _http_error(request: HttpRequest, error: Any) -> HttpResponse:
    if isinstance(error, Throttled):
        return problem(429, "Too many requests in this minute; go on when Retry-After is over.")
    if error.status_code == 400:
        return problem(400, "The body is not JSON; send a JSON object, or nothing where all is optional.")
    if error.status_code != 401:
        return problem(error.status_code, error.message)
    said = error.message if error.message != "Unauthorized" else "Log in to the console, or send a bearer token."
    response = problem(401, said)
    response["WWW-Authenticate"] = "Bearer"
    return response


def _not_valid(request: HttpRequest, error: Any) -> HttpResponse:
    """Never what was sent: pydantic's `input` stays here."""
    errors = [
        {"source": str(one["loc"][0]), "field": ".".join(map(str, one["loc"][-1:])), "detail": one["msg"]}
        for one in error.errors[:MOST_ERRORS]
    ]
    return problem(422, "The request is not valid; `errors` says where.", errors=errors)


def _not_found(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(404, "There is no such thing here.")


def _malformed(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(400, "The request is too big, or not well formed.")
