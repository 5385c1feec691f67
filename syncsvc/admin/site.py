"""The console: Django's admin under our name, its pages in the order in which they are needed."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.exceptions import DisallowedRedirect
from django.db import DataError, IntegrityError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, reverse
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from syncsvc.admin import answers
from syncsvc.admin.asking import asker_of
from syncsvc.admin.failures import failures, retry_failures
from syncsvc.admin.kept import forget
from syncsvc.admin.navigation import navigation
from syncsvc.admin.overview import NAMES, overview
from syncsvc.admin.parts import is_htmx
from syncsvc.admin.queue import NAME, queue
from syncsvc.exceptions import Refused
from syncsvc.logins import audit as _audit  # noqa: F401 - connects its receivers
from syncsvc.logins.form import LoginForm

GROUPS = {
    "Syncing": ("Subscription", "App", "Repository"),
    "Operations": ("Operation", "OperationItem"),
    "History": ("SyncRun", "DeliveryAttempt", "DeliveredFile", "Snapshot"),
    "Scripts": ("ApiToken",),
    "Audit": ("AuditEntry",),
}
OTHERS = "Others"
KEPT = (*NAMES, NAME)
LOGGED_OUT = "Nothing was saved: your login had ended before you sent it. Log in, and fill in the form again."


class ConsoleSite(AdminSite):
    site_header = "syncsvc"
    site_title = "syncsvc"
    index_title = "Console"
    site_url = None
    login_form = LoginForm
    empty_value_display = "-"
    enable_nav_sidebar = False

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        may = self.has_permission(request)
        return {
            "site_title": self.site_title,
            "site_header": self.site_header,
            "site_url": self.site_url,
            "has_permission": may,
            "is_popup": False,
            "is_nav_sidebar_enabled": self.enable_nav_sidebar,
            "navigation": navigation(request) if may else {},
        }

    def admin_view[V: Callable[..., HttpResponseBase]](self, view: V, cacheable: bool = False) -> V:
        """What htmx is answered never puts another page, or the login, into a part.

        Whoever has done something sees it: what the overview and the queue were a moment ago no longer holds.
        """
        inner = super().admin_view(view, cacheable)

        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                response = inner(request, *args, **kwargs)
            except Refused as refusal:  # somebody was quicker than a form that expects no refusal
                response = _overtaken(request, str(refusal))
            except IntegrityError as error:  # or than its checks: such a row is there by now, or a needed one is gone
                if not isinstance(error.__cause__, UniqueViolation | ForeignKeyViolation):
                    raise
                response = _overtaken(request, "Somebody else was quicker, and nothing was saved. Look at it again.")
            except DataError as error:
                if request.method != "GET":
                    raise
                raise Http404 from error  # the address holds what no row can have, such as a NUL: there is no such page
            if request.method == "POST":
                forget(*KEPT)
                if getattr(response, "url", "").startswith(reverse("admin:login")) and not is_htmx(request):
                    _tell_once(request, LOGGED_OUT)
            return answers.for_htmx(request, response)

        return cast("V", update_wrapper(answered, inner))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Leads to `next`, and to the overview where that is no address of ours."""
        try:
            response = super().login(request, extra_context)
        except DisallowedRedirect:  # too long for an address
            return HttpResponseRedirect(reverse("admin:index"))
        elsewhere = isinstance(response, HttpResponseRedirect) and not response.url.startswith("/")
        return HttpResponseRedirect(reverse("admin:index")) if elsewhere else response

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().password_change(request, extra_context)
        if request.method == "POST" and isinstance(response, HttpResponseRedirect):
            asker = asker_of(request)
            asker.log(cast("Model", asker.user), "Changed their own password.")
        return response

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return overview(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        retry = self.admin_view(retry_failures)
        return [
            path("queue/", self.admin_view(queue), name="queue"),
            path("failures/", self.admin_view(failures), name="failures"),
            path("failures/retry/", retry, name="failures_retry"),
            path("failures/retry/<str:kind>/<str:host>/", retry, name="failures_retry_cause"),
            *super().get_urls(),
        ]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = {app["app_label"]: app for app in super().get_app_list(request, app_label)}
        ours = apps.pop("syncsvc", None)
        if "auth" in apps:
            apps["auth"]["name"] = "People"
        return [*(_groups(ours) if ours else ()), *apps.values()]


def _groups(app: Any) -> list[Any]:
    """The groups of GROUPS; what none of them names is in a last one, so that no page is forgotten."""
    models = {model["object_name"]: model for model in app["models"]}
    named = {title: [models.pop(name) for name in names if name in models] for title, names in GROUPS.items()}
    named[OTHERS] = list(models.values())
    return [{**app, "name": title, "models": group} for title, group in named.items() if group]


def _tell_once(request: HttpRequest, text: str) -> None:
    """Keeps a stranger's messages in their cookie: those that do not fit would be a session, a row of the database."""
    if not request.COOKIES.get(CookieStorage.cookie_name):
        messages.warning(request, text)


def _overtaken(request: HttpRequest, text: str) -> HttpResponseBase:
    messages.error(request, text)
    return HttpResponseRedirect(answers.came_from(request) or reverse("admin:index"))
