"""The panels of a page: how a page names them, and how one alone is answered.

A panel is the partial of its name in the page's template. A live one asks for itself there, with the tag `live`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from syncsvc.admin import kept
from syncsvc.admin.lists import ListMixin
from syncsvc.admin.parts import part_of, render_part, sees, shows, tell_moved, unchanged
from syncsvc.ids import uuid_of

type Context = dict[str, Any]


def _nothing(request: HttpRequest, row: Any) -> Context:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. Functions take the request and the page's row; a page that is about no row has None.

    `context`: the context of the partial. With a `version` in it, a panel that `tells` is polled, and lets the others
    know by the event `moved` that the page shows an older one; a panel that `stays` is answered 204 where the page
    shows that version. `uses_page`: the partial uses what the page has beside its panels, too. `row`: reads the row for
    this panel alone, where one statement reads more than the row. `answer`: answers in place of the partial.
    """

    context: Callable[[HttpRequest, Any], Context] = _nothing
    tells: bool = False
    stays: bool = False
    uses_page: bool = False
    row: Callable[[UUID], Any] | None = None
    answer: Callable[[HttpRequest, Any], HttpResponse] | None = None


type Panels = Mapping[str, Panel]


def shared(name: str, text: Callable[[HttpRequest, Any], str]) -> Panel:
    """A panel that is rendered once for all tabs and kept; the page's context has the HTML under the panel's name."""
    return Panel(
        context=lambda request, row: {name: kept.shown(text(request, row))},
        answer=lambda request, row: kept.answer(request, text(request, row)),
    )


def context_of(panels: Panels, request: HttpRequest, row: Any = None) -> Context:
    """The contexts of all panels together, for the whole page."""
    found: Context = {}
    for panel in panels.values():
        found |= panel.context(request, row)
    return found


def answer_panel(
    request: HttpRequest, partial: str, panel: Panel, row: Any, *, page: Context, finished: bool = False
) -> HttpResponse:
    """Answers one panel alone; `page` is the context that the page gives it beside its own."""
    if panel.answer is not None:
        return panel.answer(request, row)
    context = panel.context(request, row)
    if panel.stays and shows(request, context["version"]):
        return unchanged()
    response = render_part(request, partial, {**page, **context}, finished=finished)
    return tell_moved(request, response, context["version"]) if panel.tells else response


def _found(panels: Panels, name: str) -> Panel:
    if (panel := panels.get(name)) is None:
        raise Http404(f"There is no part {name}.")
    return panel


def answer_page(
    request: HttpRequest, template: str, panels: Panels, beside: Callable[[Context], Context]
) -> HttpResponse:
    """Answers a page that is about no row, or one of its panels.

    `beside` makes the rest of the whole page's context, of the contexts of its panels.
    """
    if name := part_of(request):
        return answer_panel(request, f"{template}#{name}", _found(panels, name), None, page={})
    context = context_of(panels, request)
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context, **beside(context)})


class PanelsMixin(ListMixin):
    """A row's page: its panels stand above the settings."""

    panels: ClassVar[Panels] = {}

    def beside(self, request: HttpRequest, row: Any) -> Context:
        """The context that the page has beside its panels."""
        return {}

    def is_over(self, row: Any) -> bool:
        """True where nothing on the row's page changes any more."""
        return False

    def part(self, request: HttpRequest, row: Any, name: str) -> HttpResponse:
        panel = _found(self.panels, name)
        page = {"original": row, "opts": self.opts, "change": True}
        page |= self.beside(request, row) if panel.uses_page else {}
        partial = f"{self.change_form_template}#{name}"
        return answer_panel(request, partial, panel, row, page=page, finished=self.is_over(row))

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if not (name := part_of(request)):
            return super().change_view(request, object_id, *args, **kwargs)
        row = self._row(request, object_id, name) if sees(request, self.model) else None
        if row is None:
            raise PermissionDenied
        return self.part(request, row, name)

    def _row(self, request: HttpRequest, object_id: str, name: str) -> Any:
        read, row_id = self.panels.get(name, Panel()).row, uuid_of(object_id)
        return read(row_id) if read and row_id else self.get_object(request, object_id)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            panels = context_of(self.panels, request, obj) | self.beside(request, obj)
            context.update(panels, has_panels=bool(panels))
        return super().render_change_form(request, context, add, change, form_url, obj)
