"""Logins, failed logins and logouts go into the audit."""

from datetime import timedelta
from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from syncsvc.logins.backend import REFUSED
from syncsvc.models import AuditEntry, Operation
from syncsvc.operations.asker import Asker

# Guesses at one name from one address are one entry for so long: nobody fills the table without logging in.
ONE_ENTRY = timedelta(hours=1)
REACHED = "login_limit_reached"  # the request's attribute: this failure was the last one that a limit allows
UNKNOWN = "No user of the console has this name."


@receiver(user_logged_in)
def logged_in(request: HttpRequest | None, user: AbstractBaseUser, **_: Any) -> None:
    _asker(request, user).log(user, "", action=AuditEntry.Action.LOGGED_IN)


@receiver(user_logged_out)
def logged_out(request: HttpRequest | None, user: AbstractBaseUser | None, **_: Any) -> None:
    if user is not None:
        _asker(request, user).log(user, "", action=AuditEntry.Action.LOGGED_OUT)


@receiver(user_login_failed)
def login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """A name that no user has is not kept: people type their password there.

    A try that the limits refused makes no new entry: who has a network of addresses would fill the table with them.
    """
    users = get_user_model()
    name = str(credentials.get(users.USERNAME_FIELD) or "")
    user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first() if "\0" not in name else None
    action = AuditEntry.Action.LOGIN_FAILED
    if user is not None:
        entry = _asker(request, user).entry(user, getattr(request, REFUSED, ""), action=action)
    else:
        entry = AuditEntry(action=action, source=Operation.Source.CONSOLE, address=_address(request), text=UNKNOWN)
    AuditEntry.objects.note_again(entry, within=ONE_ENTRY, known_only=_was_refused(request))


@receiver(user_locked_out)
def limit_reached(request: HttpRequest, **_: Any) -> None:
    setattr(request, REACHED, True)


def _was_refused(request: HttpRequest | None) -> bool:
    """Without a look at the password; the failure that reaches a limit was looked at."""
    return getattr(request, "axes_locked_out", False) and not getattr(request, REACHED, False)


def _asker(request: HttpRequest | None, user: AbstractBaseUser) -> Asker:
    return Asker(name=user.get_username(), source=Operation.Source.CONSOLE, user=user, address=_address(request))


def _address(request: HttpRequest | None) -> str | None:
    return (request.META.get("REMOTE_ADDR") or None) if request is not None else None
