"""Pages whose parts are rendered alone, by the same address, when htmx asks with `?part=name`."""

import re
from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.cache import cache
from django.db.models import Model
from django.http import Http404, HttpRequest
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.template.response import TemplateResponse
from django_htmx.http import HTMX_STOP_POLLING

NAME = re.compile(r"[a-z_]+")
SEES_SECONDS = 30


def is_htmx(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False))


def part_of(request: HttpRequest) -> str:
    """The part that htmx asks for; blank where the whole page is wanted."""
    name = request.GET.get("part", "") if is_htmx(request) else ""
    return name if NAME.fullmatch(name) else ""


def sees(request: HttpRequest, model: type[Model]) -> bool:
    """Whether the user may see such rows. What asks every two seconds does not ask the database for it each time.

    Whoever loses the permission sees parts of a page that is open for half a minute more; actions check anew.
    """
    user = request.user
    if getattr(user, "is_superuser", False):
        return True
    key = f"sees:{user.pk}"
    if (names := cache.get(key)) is None:
        names = user.get_all_permissions()
        cache.set(key, names, SEES_SECONDS)
    label, opts = model._meta.app_label, model._meta
    return any(f"{label}.{get_permission_codename(verb, opts)}" in names for verb in ("view", "change"))


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
