"""Nothing in the console opens for a one-time password but the page that changes it."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from syncsvc.api.problems import problem
from syncsvc.logins.one_time import must_change

OPEN = ("login", "logout", "password_change", "jsi18n")
TEXT = "The password you logged in with is good for one login. Choose your own; then the console opens."


class OneTimePasswordMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        console, api = reverse("admin:index"), reverse("admin:index") + "api/"
        in_api = request.path.startswith(api)
        if not request.path.startswith(console) or request.path in (reverse(f"admin:{name}") for name in OPEN):
            return None
        if in_api and "Authorization" in request.headers:  # a token counts alone, and is nobody's password
            return None
        if not must_change(request.user):
            return None
        if in_api:
            return problem(403, TEXT, kind="password")
        change = reverse("admin:password_change")
        if getattr(request, "htmx", False):
            return HttpResponseClientRedirect(change)
        messages.warning(request, TEXT)
        return redirect(change)
