"""Buttons on a row's page: each is a POST to an address of its own, checked for permission there."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from syncsvc.admin.bases import ModelAdmin


class Button(NamedTuple):
    """`press` is the ModelAdmin's method that does it: it takes the request and the row, and says what came of it.

    It may answer with a page of its own. `permission` is the codename of one of ours; blank: that to change the row.
    """

    press: str
    label: str
    title: str
    permission: str = ""


class ButtonsMixin(ModelAdmin):
    buttons: tuple[Button, ...] = ()

    def buttons_of(self, row: Any) -> Sequence[Button]:
        """Those that make sense for the row as it is."""
        return self.buttons

    def may_press(self, request: HttpRequest, button: Button, row: Any) -> bool:
        if not button.permission:
            return self.has_change_permission(request, row)
        return self.has_view_permission(request, row) and request.user.has_perm(f"syncsvc.{button.permission}")

    def get_urls(self) -> list[URLPattern]:
        return [self._url(button) for button in self.buttons] + super().get_urls()

    def _url(self, button: Button) -> URLPattern:
        view: Callable[..., HttpResponseBase] = self.admin_site.admin_view(self._press)
        return path(f"<uuid:row_id>/{button.press}/", view, {"button": button}, name=self._name(button))

    def _name(self, button: Button) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{button.press}"

    def _press(self, request: HttpRequest, row_id: Any, button: Button) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self.get_object(request, str(row_id))
        if row is None or not self.may_press(request, button, row):
            raise PermissionDenied
        response: HttpResponse | None = getattr(self, button.press)(request, row)
        return response or HttpResponseRedirect(self.page(row))

    def page(self, row: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

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
            pressable = [button for button in self.buttons_of(obj) if self.may_press(request, button, obj)]
            urls = [reverse(f"admin:{self._name(button)}", args=[obj.pk]) for button in pressable]
            context["buttons"] = [{**b._asdict(), "url": url} for b, url in zip(pressable, urls, strict=True)]
        return super().render_change_form(request, context, add, change, form_url, obj)
