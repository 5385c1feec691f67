"""Pages whose parts are rendered alone, by the same address, when htmx asks with `?part=name`."""

import re
from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.template.response import TemplateResponse
from django_htmx.http import HTMX_STOP_POLLING

NAME = re.compile(r"[a-z_]+")


def is_htmx(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False))


def part_of(request: HttpRequest) -> str:
    """The part that htmx asks for; blank where the whole page is wanted."""
    name = request.GET.get("part", "") if is_htmx(request) else ""
    return name if NAME.fullmatch(name) else ""


def render_page(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, finished: bool = False
) -> TemplateResponse:
    """The page, or its part. A part that is `finished` answers 286: nobody asks for it again."""
    name = part_of(request)
    if not name:
        return TemplateResponse(request, template, {**admin.site.each_context(request), **context})
    return render_part(request, f"{template}#{name}", context, finished=finished)


def render_part(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, finished: bool = False
) -> TemplateResponse:
    """`template` is a partial, `page.html#name`, or a template of its own."""
    try:
        get_template(template)
    except TemplateDoesNotExist as error:
        raise Http404(f"There is no part {template}.") from error
    return TemplateResponse(request, template, dict(context), status=HTMX_STOP_POLLING if finished else None)
