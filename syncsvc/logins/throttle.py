"""What somebody sees who has failed to log in too often; django-axes counts (`AXES_…` in the settings)."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


def locked_out(request: HttpRequest, response: HttpResponse, credentials: Any = None) -> HttpResponse:
    """The login page again, answered with 429: what happened, and when to come back."""
    wait: timedelta = settings.AXES_COOLOFF_TIME
    minutes = max(1, round(wait.total_seconds() / 60))
    text = f"Too many failed logins with this name from your address. Wait {minutes} minutes, then try again."
    answer = HttpResponse(f"{text}\n", content_type="text/plain")
    context = response.context_data if isinstance(response, TemplateResponse) else None
    if isinstance(response, TemplateResponse) and context and "form" in context:
        form = context["form"]
        form.errors.clear()
        form.errors["__all__"] = form.error_class([text], renderer=form.renderer)
        answer = TemplateResponse(request, response.template_name, context).render()
    answer.status_code = 429
    answer["Retry-After"] = str(int(wait.total_seconds()))
    return answer
