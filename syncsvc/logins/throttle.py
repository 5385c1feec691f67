"""What somebody sees who has failed to log in too often (`limits.py` counts)."""

import math
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from syncsvc.logins.limits import WAIT, Wait
from syncsvc.words import counted

MINUTE = 60


def locked_out(request: HttpRequest, response: HttpResponse, credentials: Any = None) -> HttpResponse:
    """The login page again, answered with 429: what happened, when to come back, and who can help."""
    wait: Wait = getattr(request, WAIT, None) or Wait("with this name", MINUTE)
    text = _sentence(wait)
    answer = HttpResponse(f"{text}\n", content_type="text/plain")
    context = response.context_data if isinstance(response, TemplateResponse) else None
    if isinstance(response, TemplateResponse) and context and "form" in context:
        form = context["form"]
        form.errors.clear()
        form.errors["__all__"] = form.error_class([text], renderer=form.renderer)
        answer = TemplateResponse(request, response.template_name, context).render()
    answer.status_code = 429
    answer["Retry-After"] = str(wait.seconds)
    return answer


def _sentence(wait: Wait) -> str:
    seconds = wait.seconds < MINUTE
    time = counted(wait.seconds, "second") if seconds else counted(math.ceil(wait.seconds / MINUTE), "minute")
    at = timezone.now() + timedelta(seconds=wait.seconds)
    return (
        f"Too many failed logins {wait.subject}. Wait {time}, then try again ({at:%H:%M:%S} UTC);"
        " an administrator can end the wait."
    )
