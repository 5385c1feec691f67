"""Who asks, where a page of the console does."""

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from syncsvc.models import Operation
from syncsvc.operations.asker import Asker


def asker_of(request: HttpRequest) -> Asker:
    assert isinstance(request.user, AbstractBaseUser)  # noqa: S101 - for the type only: the site lets nobody else in
    return Asker(
        name=request.user.get_username(),
        source=Operation.Source.CONSOLE,
        user=request.user,
        address=request.META.get("REMOTE_ADDR") or None,
    )
