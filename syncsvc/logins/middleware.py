"""Whose session it is; that of a one-time password is nobody's, except on the page that changes the password."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.middleware import AuthenticationMiddleware, get_user
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django_htmx.http import HttpResponseClientRedirect

from syncsvc.api.callers import SESSION_REFUSED
from syncsvc.logins.one_time import must_change

OPEN = ("login", "logout", "password_change", "jsi18n")
TEXT = "The password you logged in with is good for one login. Choose your own; then the console opens."


class SessionUserMiddleware(AuthenticationMiddleware):
    """Django's own, by which every entrance learns of its user: none has a rule of its own for one-time passwords."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if request.path not in (reverse(f"admin:{name}") for name in OPEN):
            request.user = SimpleLazyObject(lambda: _accepted(request))  # type: ignore[assignment]
            request.auser = _no_auser

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Leads pages of the console on; the API says it in its own form."""
        console, api = reverse("admin:index"), reverse("admin:index") + "api/"
        if not request.path.startswith(console) or request.path.startswith(api):
            return None
        if request.user.is_authenticated or not getattr(request, SESSION_REFUSED, ""):
            return None
        change = reverse("admin:password_change")
        if getattr(request, "htmx", False):
            return HttpResponseClientRedirect(change)
        messages.warning(request, TEXT)
        return redirect(change)


def _accepted(request: HttpRequest) -> Any:
    user = get_user(request)
    if not must_change(user):
        return user
    setattr(request, SESSION_REFUSED, TEXT)
    return AnonymousUser()


async def _no_auser() -> Any:
    raise NotImplementedError("syncsvc has no asynchronous views; request.user has the session's user.")
