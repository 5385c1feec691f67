"""Logging in by name and password."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import check_password
from django.http import HttpRequest

from syncsvc.logins.one_time import must_change, use

REFUSED = "login_refused"  # the request's attribute that says why a right password is no login


class PasswordBackend(ModelBackend):
    """Django's own, for which a one-time password is right once."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> Any:
        users = get_user_model()
        name = more.get(users.USERNAME_FIELD) if username is None else username
        user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first() if name else None
        if user is None or password is None or not must_change(user):
            return super().authenticate(request, username=username, password=password, **more)
        # Not by the user's own check_password, which stores a new hash, without the mark, where Django has a newer way.
        if not check_password(password, user.password) or not self.user_can_authenticate(user):
            return None
        if refusal := use(user, password):
            if request is not None:
                setattr(request, REFUSED, refusal)
            return None
        return user
