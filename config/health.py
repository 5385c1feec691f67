"""What a load balancer and a person at 3 a.m. ask first."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from syncsvc.sync.health import health


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
    # While another worker is well the work goes on, and `trouble` names the one that is not.
    without_disk = sum(trouble["kind"] == "disk" for trouble in state["trouble"].values())
    some_worker_is_well = not state["workers"] or without_disk < state["workers"]
    ready = state["database"] and state["redis"] and state["scheduler"] and some_worker_is_well
    return JsonResponse(state, status=200 if ready else 503)
