"""The API as a whole: what every entrance has in common, and its description for machines and people."""

import json
from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from syncsvc import __version__
from syncsvc.api import apps, bulk, operations, single
from syncsvc.api.bodies import BoundedParser
from syncsvc.api.problems import MEDIA_TYPE, Problem, handle_problems
from syncsvc.api.rate import PerMinute

ASKED = {400: "Malformed", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 422: "Invalid", 503: "Unavailable"}
CHANGED = {409: "Conflict", 429: "TooManyRequests"}


class ApiPage(Swagger):
    """Ninja's page from its own files; what is tried there sends the session's CSRF token along."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        settings = {**self.settings, "url": self.get_openapi_url(api, kwargs)}
        context = {"swagger_settings": json.dumps(settings), "api": api, "add_csrf": True}
        return render(request, self.template, context)


class ConsoleAPI(NinjaAPI):
    """Ninja's description, with the problems that every entrance may answer with."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The function's name, which generated clients call it by."""
        return operation.view_func.__name__

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(*args, **kwargs)
        described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**described.pop("$defs"), "Problem": described}
        schema["components"]["responses"] = {name: _problem(name) for name in (ASKED | CHANGED).values()}
        for entrance in schema["paths"].values():
            for method, operation in entrance.items():
                statuses = ASKED if method == "get" else ASKED | CHANGED
                operation["responses"] |= {s: {"$ref": f"#/components/responses/{n}"} for s, n in statuses.items()}
        return schema


def _problem(name: str) -> dict[str, Any]:
    return {
        "description": name,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


api = ConsoleAPI(
    parser=BoundedParser(),
    title="syncsvc",
    version=__version__,
    description="Retry, re-sync, and follow what comes of it. docs/api.md has examples.",
    urls_namespace="api",
    docs=ApiPage(),
    docs_decorator=staff_member_required,
    throttle=[PerMinute()],
)
handle_problems(api)
for part in (single, bulk, operations, apps):
    api.add_router("", part.router)
