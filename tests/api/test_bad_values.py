"""Every entrance of the API with bad bodies, ids, cursors and keys: a problem in words, and never an error page."""

import itertools
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from syncsvc.api.console import api
from syncsvc.models import Operation
from tests.api.conftest import Calls
from tests.bad_values import rotated
from tests.factories import SubscriptionFactory

pytestmark = pytest.mark.django_db

ENTRANCES = [(method, path) for path, methods in api.get_openapi_schema()["paths"].items() for method in methods]
SCHEMAS = api.get_openapi_schema()["components"]["schemas"]
ASKED = ("Selection", "Target", "PreviewAsked", "Again")
FIELDS = sorted({name for schema in ASKED for name in SCHEMAS[schema]["properties"]})
# Beside the strings: what JSON can hold that no field takes.
VALUES: list[Any] = [
    *(None, True, -1, 0, 1.5, 10**30, -(10**400), 1e308, [], {}, [[]], [None] * 1_000, {"a": {"b": {"c": 1}}}),
    *(["00000000-0000-4000-8000-000000000000"] * 3, ["x"], {"$ne": ""}, "\ud800", "a\udcffb", "\x00"),
]
BODIES = [
    *(b"", b" ", b"{", b"[", b"}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"\x00", b'{"app_id"', b"{'app_id': 1}", b"nul"),
    *(b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b'{"\\u0000": "\\u0000"}', b"1" * 10_000, b"[" * 100_000),
    *(
        b'{"a":' * 50_000,
        b'{"app_id": "x", "app_id": "y"}',
        b"a=b&c=d",
        b"--x\r\n",
        b'{"ids": [' + b"1," * 10_000 + b"1]}",
    ),
]


@pytest.fixture
def send(member: Any, token_of: Any, settings: Any) -> Callable[..., Any]:
    """Calls as an administrator, and puts back what came of it."""
    settings.API_CALLS_PER_MINUTE = 10**9
    SubscriptionFactory(failed=True)
    header = {"Authorization": f"Bearer {token_of(member('administrator'))}"}
    client = Client()

    def call(method: str, path: str, body: bytes = b"", kind: str = "application/json", **headers: str) -> Any:
        path = path.replace("{kind}", "git_auth").replace("{", "").replace("}", "")
        for name in ("app_id", "repository_id", "operation_id", "subscription_id"):
            path = path.replace(name, str(uuid.UUID(int=7)))
        with transaction.atomic():
            answer = client.generic(method.upper(), path, body, kind, headers={**header, **headers})
            transaction.set_rollback(True)
        assert answer.status_code < 500, (method, path, body[:100])
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json", (method, path, body[:100])
            assert answer.json()["detail"]
        return answer

    return call


@pytest.mark.parametrize(("turn", "method", "path"), [(turn, *one) for turn, one in enumerate(ENTRANCES)])
def test_a_bad_body_address_or_key_is_a_problem(turn: int, method: str, path: str, send: Callable[..., Any]) -> None:
    for body in BODIES[turn % 4 :: 4]:
        send(method, path, body)
    kinds = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x" * 300)
    send(method, path, b"{}", kinds[turn % 5])
    if method == "post":
        for number, (name, value) in enumerate(itertools.product(FIELDS, [*VALUES, *rotated(turn, 6)])):
            if number % 32 == turn % 32:
                send(method, path, json.dumps({name: value}).encode())
    for value in rotated(2 * turn, 2):
        send(method, f"{path}?after={quoted(value)}&limit={quoted(value)}&status={quoted(value)}&{quoted(value)}")
        if "{" in path:
            send(method, f"{path[: path.index('{')]}{quoted(value)}{path[path.index('}') + 1 :]}")
        key = "".join(letter for letter in value if letter.isprintable() and letter.isascii())
        send(method, path, b"{}", **{"Idempotency-Key": key, "X-Request-Id": key})


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def test_one_persons_key_is_not_anothers(calling: Callable[..., Calls]) -> None:
    """Neither does it start nothing for the other, nor give away what the first one started."""
    subscriptions = [SubscriptionFactory(failed=True) for _ in range(2)]
    key = {"Idempotency-Key": "the-same"}
    operator, administrator = calling("operator"), calling("administrator")
    first = operator("post", f"retry/app/{subscriptions[0].app_id}", **key).json()["data"]["operation_id"]
    other = administrator("post", f"retry/app/{subscriptions[1].app_id}", **key).json()["data"]["operation_id"]
    assert first != other
    assert operator("post", f"retry/app/{subscriptions[0].app_id}", **key).json()["data"]["operation_id"] == first
    stranger = calling("viewer")("post", f"retry/app/{subscriptions[0].app_id}", **key)
    assert (stranger.status_code, first in stranger.text) == (403, False)
    again = operator("post", f"retry/app/{subscriptions[1].app_id}", **key)
    assert (again.status_code, again.json()["kind"]) == (409, "conflict")
    assert Operation.objects.count() == 2
