"""What a load balancer and a person at 3 a.m. ask first."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from syncsvc.sync.health import health

NEEDED = ("database", "redis", "scheduler")


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers; nothing else is looked at."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Whether the system does its work; the number of workers is told, not judged."""
    state = health()
    return JsonResponse(state, status=200 if all(state[name] for name in NEEDED) else 503)
