"""Parts of pages, which htmx requests alone at the page's own address: `?part=NAME`, and `v`, the version it shows.

The status 204 leaves the part as it is; 286 ends its polling. The event `moved` tells the page's other parts to request
themselves, because something has changed.
"""

import re
import time
import zlib
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_permission_codename
from django.core.cache import cache
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.template.response import TemplateResponse
from django_htmx.http import HTMX_STOP_POLLING, trigger_client_event

NAME = re.compile(r"[a-z_]+")
PART, VERSION = "part", "v"
# Fields that a part sends for itself; they are not of the page's own address. `kept` and `next` are those of failures.
OF_PARTS = (PART, VERSION, "kept", "next")
# Seconds between two requests of a tab for a part: while something in it moves, and otherwise.
MOVING_SECONDS, RESTING_SECONDS = 2, 15
# For a page of rows, which costs more than numbers; and for what is read from the history of a day.
ROWS_SECONDS, DAY_SECONDS = 5, 60
SEES_SECONDS = 30


def is_htmx(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False))


def part_of(request: HttpRequest) -> str:
    """The part that htmx asks for; blank where the whole page is wanted."""
    name = request.GET.get(PART, "") if is_htmx(request) else ""
    return name if NAME.fullmatch(name) else ""


def page_query(request: HttpRequest) -> QueryDict:
    """The query of the page that a part belongs to."""
    query = request.GET.copy()
    for name in OF_PARTS:
        query.pop(name, None)
    return query


def sees(request: HttpRequest, model: type[Model]) -> bool:
    """Whether the user may see such rows, by permissions that are kept for half a minute.

    Parts are polled every two seconds, so the database is not asked each time. A user who loses the permission goes on
    seeing an open page for that long; actions check the permission itself.
    """
    user = request.user
    if getattr(user, "is_superuser", False):
        return True
    key = f"sees:{user.pk}"
    if (names := cache.get(key)) is None:
        names = sorted(user.get_all_permissions())
        cache.set(key, names, SEES_SECONDS)
    label, opts = model._meta.app_label, model._meta
    return any(f"{label}.{get_permission_codename(verb, opts)}" in names for verb in ("view", "change"))


def period(*, moves: bool) -> int:
    """Seconds until a tab asks for the part again."""
    return MOVING_SECONDS if moves else RESTING_SECONDS


def version_of(*seen: object) -> str:
    """A text that changes when one of these values does, and each minute, because the page shows relative times."""
    return f"{zlib.crc32(repr((seen, int(time.time() // 60))).encode()):x}"


def shows(request: HttpRequest, version: str) -> bool:
    """True where the tab that asks shows this version of the part already."""
    return request.GET.get(VERSION) == version


def unchanged() -> HttpResponse:
    """An answer for which htmx leaves the part, and the focus in it, as they are."""
    return HttpResponse(status=204)


def tell_moved(request: HttpRequest, response: HttpResponse, version: str) -> HttpResponse:
    """Adds the event `moved` where the tab that asks shows another version."""
    if request.GET.get(VERSION, version) != version:
        trigger_client_event(response, "moved")
    return response


def render_part(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, finished: bool = False
) -> TemplateResponse:
    """`template` is a partial, `page.html#name`, or a template of its own. A `finished` part is asked for no more."""
    try:
        get_template(template)
    except TemplateDoesNotExist as error:
        raise Http404(f"There is no part {template}.") from error
    return TemplateResponse(request, template, dict(context), status=HTMX_STOP_POLLING if finished else None)
