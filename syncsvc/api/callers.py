"""Who calls: a person with the console's session, or a script with a token; and whether they may."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.errors import AuthenticationError, AuthorizationError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from syncsvc.api.token_use import note_use
from syncsvc.exceptions import Refused
from syncsvc.models import ApiToken, Operation
from syncsvc.models.token import TokenScope
from syncsvc.operations.asker import Asker

SESSION_REFUSED = "session_refused"  # the request's attribute that says why its session is nobody's


@dataclass(frozen=True, slots=True)
class Caller:
    """Without a token it is a person of the console, whom no scope confines."""

    user: Any
    address: str | None
    token: ApiToken | None = None

    @property
    def key(self) -> str:
        """Whose requests are counted together."""
        return f"token:{self.token.pk}" if self.token else f"user:{self.user.pk}"

    @property
    def asker(self) -> Asker:
        return Asker(name=self.user.get_username(), source=Operation.Source.API, user=self.user, address=self.address)

    def require(self, permission: str, scope: TokenScope) -> "Caller":
        """Itself; AuthorizationError says what is missing."""
        if self.token is not None and scope not in self.token.scopes:
            raise AuthorizationError(message=f"The token's scopes lack {scope.value}; make one that has it.")
        if not self.user.has_perm(f"syncsvc.{permission}"):
            raise AuthorizationError(message=f"{self.user.get_username()} lacks the permission {permission}.")
        return self


@dataclass(frozen=True, slots=True)
class Need:
    permission: str
    scope: TokenScope


class Bearer(HttpBearer):
    """A token that is sent counts alone: a bad one is refused, whatever session comes with it."""

    def __init__(self, need: Need) -> None:
        super().__init__()
        self.need = need

    def __call__(self, request: HttpRequest) -> Caller | None:
        """Ninja's own logs what it does not understand."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self.authenticate(request, token.strip()) if scheme.lower() == "bearer" else None

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        found = ApiToken.objects.usable(token)
        if found is None:
            raise AuthenticationError(
                message="The token is unknown, expired or revoked; make a new one in the console."
            )
        caller = Caller(found.user, _address(request), found)
        note_use(found, caller.asker)
        return caller.require(self.need.permission, self.need.scope)


class ConsoleSession(APIKeyCookie):
    """The console's login; whatever changes something needs the X-CSRFToken header, too."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, need: Need) -> None:
        super().__init__()
        self.need = need

    def __call__(self, request: HttpRequest) -> Caller | None:
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        user: Any = request.user
        if not (user.is_active and user.is_staff):
            if refusal := getattr(request, SESSION_REFUSED, ""):
                raise Refused("password", refusal)
            return None
        _ = request.body  # kept, so that it can still be read when the check has looked for a form in it
        if check_csrf(request) is not None:
            raise AuthorizationError(message="The CSRF token is missing or wrong; send the cookie's as X-CSRFToken.")
        return Caller(user, _address(request)).require(self.need.permission, self.need.scope)


def needs(permission: str, scope: TokenScope) -> list[Any]:
    """The two ways in, both of which ask for this permission, and a token for this scope."""
    need = Need(permission, scope)
    return [Bearer(need), ConsoleSession(need)]


def caller_of(request: HttpRequest) -> Caller:
    """What `needs` found."""
    caller: Caller = request.auth  # type: ignore[attr-defined]
    return caller


def _address(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR") or None
