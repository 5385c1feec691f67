"""Buttons on a row's page: each is a POST to an address of its own, checked for permission there.

A GET of the same address asks first, where the button has a confirmation: as what fills the dialog, or as a page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from syncsvc.admin import answers
from syncsvc.admin.choosing import RowSelect
from syncsvc.admin.panels import PanelsMixin
from syncsvc.admin.parts import is_htmx, render_part
from syncsvc.exceptions import Refused

CONFIRM = "admin/syncsvc/confirm.html"
CHANGE_FORM = "admin/syncsvc/change_form.html"


class Button(NamedTuple):
    """`press` is the ModelAdmin's method that does it: it takes the request and the row, and says what came of it.

    It may answer with a page of its own. `permission` is the codename of one of ours; blank: that to change the row.
    `confirms` is the method that says what a confirmation asks: a Confirmation, or an answer of its own. `in_place`:
    the page's live parts show what changed, so htmx gets toasts and events; else the page is loaded anew. `failed` is
    what a toast says where no answer comes.
    """

    press: str
    label: str
    title: str
    permission: str = ""
    confirms: str = ""
    in_place: bool = False
    tone: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What is asked: a question, its exact effect, and the verb that does it."""

    title: str
    effect: str
    label: str
    tone: str = ""


class ButtonsMixin(PanelsMixin):
    """A row's page with buttons; the buttons are a part that htmx can request alone."""

    buttons: tuple[Button, ...] = ()
    change_form_template = CHANGE_FORM

    def buttons_of(self, row: Any) -> Sequence[Button]:
        """Those that make sense for the row as it is."""
        return self.buttons

    def part(self, request: HttpRequest, row: Any, name: str) -> HttpResponse:
        if name != "buttons":
            return super().part(request, row, name)
        context = {"original": row, "opts": self.opts, "change": True, **self.buttons_context(request, row)}
        return render_part(request, f"{CHANGE_FORM}#{name}", context)  # in the template that the page's own extends

    def may_press(self, request: HttpRequest, button: Button, row: Any) -> bool:
        if not button.permission:
            return self.has_change_permission(request, row)
        return self.has_view_permission(request, row) and request.user.has_perm(f"syncsvc.{button.permission}")

    def shown_buttons(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        pressable = [button for button in self.buttons_of(row) if self.may_press(request, button, row)]
        return [{**button._asdict(), "url": self.press_url(row, button.press)} for button in pressable]

    def buttons_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"buttons": self.shown_buttons(request, row)}

    def press_url(self, row: Any, press: str) -> str:
        return reverse(f"admin:{self._name(press)}", args=[row.pk])

    def page(self, row: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

    def get_urls(self) -> list[URLPattern]:
        return [self._url(button) for button in self.buttons] + super().get_urls()

    def _url(self, button: Button) -> URLPattern:
        view: Callable[..., HttpResponseBase] = self.admin_site.admin_view(self._press)
        return path(f"<str:row_id>/{button.press}/", view, {"button": button}, name=self._name(button.press))

    def _name(self, press: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{press}"

    def _press(self, request: HttpRequest, row_id: Any, button: Button) -> HttpResponse:
        methods = ("GET", "POST") if button.confirms else ("POST",)
        if request.method not in methods:
            return HttpResponseNotAllowed(methods)
        row = self.get_object(request, str(row_id))
        if not self.may_press(request, button, row):
            raise PermissionDenied
        if row is None:
            gone = f"somebody has deleted the {self.opts.verbose_name}."
            raise Refused("not_found", f"{button.failed or 'Failed'}: {gone}")
        if request.method == "GET":
            return self._ask(request, row, button)
        response: HttpResponse | None = getattr(self, button.press)(request, row)
        return response or self.pressed(request, row, button)

    def pressed(self, request: HttpRequest, row: Any, button: Button) -> HttpResponse:
        """What follows a button whose method gave no answer of its own."""
        if not button.in_place:
            return HttpResponseRedirect(self.page(row))
        if is_htmx(request):
            return answers.done(request, changed=row.pk)
        return HttpResponseRedirect(answers.came_from(request) or self.page(row))

    def _ask(self, request: HttpRequest, row: Any, button: Button) -> HttpResponse:
        asked: Confirmation | HttpResponse = getattr(self, button.confirms)(request, row)
        if isinstance(asked, HttpResponse):
            return asked
        return ask(request, asked, back=self.page(row), back_title=str(row), failed=button.failed)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            options.setdefault("widget", RowSelect(db_field, self.admin_site, using=options.get("using")))
        return super().formfield_for_foreignkey(db_field, request, **options)

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
            context.update(self.buttons_context(request, obj))
        return super().render_change_form(request, context, add, change, form_url, obj)


def ask(
    request: HttpRequest, asked: Confirmation, *, back: str, back_title: str, failed: str = "", **more: Any
) -> HttpResponse:
    """The confirmation, as what fills the dialog or as a page; its form posts to the address it came from."""
    context = {
        "asked": asked,
        "title": asked.title,
        "action": request.get_full_path(),
        "back": back,
        "back_title": back_title,
        "failed": failed,
        **more,
    }
    if is_htmx(request):
        return render_part(request, f"{CONFIRM}#question", {**context, "in_dialog": True})
    return TemplateResponse(request, CONFIRM, {**admin.site.each_context(request), **context})
