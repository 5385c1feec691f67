import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

Calls = Callable[..., Any]
SCOPES = ("read", "retry", "resync", "cancel")


@pytest.fixture
def member(db: None) -> Callable[[str], Any]:
    """Makes a person of the console in that group."""
    from django.contrib.auth.models import Group, User

    def make(group: str = "") -> Any:
        user, _ = User.objects.get_or_create(username=f"a-{group or 'stranger'}", is_staff=True)
        user.groups.set(Group.objects.filter(name=group))
        return user

    return make


@pytest.fixture
def token_of(db: None) -> Callable[..., str]:
    """Makes a token of a user."""
    from syncsvc.models import ApiToken
    from syncsvc.models.token import new_token

    def make(user: Any, scopes: Sequence[str] = SCOPES, **values: Any) -> str:
        text = new_token()
        row = ApiToken(
            name="script", user=user, scopes=scopes, **{"expires_at": timezone.now() + timedelta(days=1), **values}
        )
        row.set_token(text)
        row.save()
        return text

    return make


@pytest.fixture
def calling(member: Callable[[str], Any], token_of: Callable[..., str]) -> Callable[..., Calls]:
    """Makes a function that calls the API as a member of a group, by `session` or `token`."""

    def of(group: str, way: str = "token", scopes: Sequence[str] = SCOPES) -> Calls:
        user, client = member(group), Client()
        if way == "session":
            client.force_login(user)
            headers = {}
        else:
            headers = {"Authorization": f"Bearer {token_of(user, scopes)}"}

        def call(method: str, path: str, body: Any = None, **more: str) -> Any:
            return client.generic(
                method.upper(),
                f"/admin/api/{path}",
                b"" if body is None else json.dumps(body),
                content_type="application/json",
                headers={**headers, **{name.replace("_", "-"): value for name, value in more.items()}},
            )

        return call

    return of


@pytest.fixture
def operator(calling: Callable[..., Calls]) -> Calls:
    return calling("operator")


@pytest.fixture
def administrator(calling: Callable[..., Calls]) -> Calls:
    return calling("administrator")
