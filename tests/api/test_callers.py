"""The two ways in: the console's session and a script's token."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from syncsvc.models import ApiToken, Operation
from tests.factories import SubscriptionFactory

pytestmark = pytest.mark.django_db

LIST, ALL = "/admin/api/operations", "/admin/api/retry/all"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def retry_all(client: Client, **more: Any) -> Any:
    return client.post(ALL, content_type="application/json", **more)


@pytest.fixture
def token(member: Callable[[str], Any], token_of: Callable[..., str]) -> str:
    return token_of(member("operator"))


def test_of_a_token_only_its_hash_and_first_characters_are_kept(token: str) -> None:
    row = ApiToken.objects.values().get()

    assert token.startswith("syncsvc_")
    assert row["prefix"] == token[:14]
    assert token not in str(row)
    assert token[20:] not in str(row)


def test_a_token_needs_no_csrf_token(token: str) -> None:
    assert retry_all(Client(enforce_csrf_checks=True), headers=bearer(token)).status_code == 409


def test_a_session_needs_one_to_change_something(member: Callable[[str], Any]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(member("operator"))

    refused = retry_all(client)
    client.get("/admin/password_change/")
    csrf = client.cookies["csrftoken"].value

    assert (refused.status_code, refused.json()["detail"][:14]) == (403, "The CSRF token")
    assert retry_all(client, headers={"X-CSRFToken": csrf}).status_code == 409
    assert client.post(ALL, {"csrfmiddlewaretoken": csrf}).json()["kind"] == "malformed"
    assert client.get(LIST).status_code == 200


def test_a_session_of_someone_who_is_no_longer_staff_opens_nothing(member: Callable[[str], Any]) -> None:
    client = Client()
    client.force_login(member("operator"))
    User.objects.update(is_staff=False)

    assert client.get(LIST).status_code == 401


@pytest.mark.parametrize(
    "values",
    [{"expires_at": timezone.now() - timedelta(seconds=1)}, {"revoked_at": timezone.now()}],
    ids=["expired", "revoked"],
)
def test_a_token_that_has_ended_opens_nothing(
    values: dict[str, Any], member: Callable[[str], Any], token_of: Callable[..., str], client: Client
) -> None:
    answer = client.get(LIST, headers=bearer(token_of(member("operator"), **values)))

    assert (answer.status_code, answer.json()["kind"]) == (401, "unauthorized")


def test_a_token_ends_with_its_users_account(token: str, client: Client) -> None:
    assert client.get(LIST, headers=bearer(token)).status_code == 200
    User.objects.update(is_active=False)
    assert client.get(LIST, headers=bearer(token)).status_code == 401


@pytest.mark.parametrize("bad", ["syncsvc_guessed", "", "  ", "é", "x" * 5000])
def test_a_bad_token_is_refused_whatever_session_comes_with_it(bad: str, member: Callable[[str], Any]) -> None:
    client = Client()
    client.force_login(member("operator"))

    assert client.get(LIST, headers=bearer(bad)).status_code == 401


def test_another_kind_of_authorization_is_left_to_the_proxy_it_is_for(member: Callable[[str], Any]) -> None:
    client = Client()
    client.force_login(member("operator"))

    assert client.get(LIST, headers={"Authorization": "Basic YTpi"}).status_code == 200


def test_when_a_token_was_used_is_noted_at_most_once_a_minute(token: str, client: Client) -> None:
    client.get(LIST, headers=bearer(token))
    first = ApiToken.objects.get().last_used_at
    client.get(LIST, headers=bearer(token))

    assert first is not None
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    client.get(LIST, headers=bearer(token))
    assert ApiToken.objects.get().last_used_at > first


def test_no_token_is_logged(token: str, client: Client, caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.DEBUG = True
    with caplog.at_level(logging.DEBUG):
        for scheme in ("Bearer", "Token", "bearer "):
            client.get(LIST, headers={"Authorization": f"{scheme} {token}"})
            client.get(LIST, headers={"Authorization": f"{scheme} {token}x"})

    assert token[14:] not in caplog.text


def test_too_many_changes_in_a_minute_are_refused_and_looking_is_not(token: str, client: Client, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 2
    answers = [retry_all(client, headers=bearer(token)) for _ in range(5)]  # the minute may turn meanwhile

    refused = next(answer for answer in answers if answer.status_code == 429)
    assert answers.index(refused) >= 2
    assert 0 < int(refused["Retry-After"]) <= 60
    assert refused.json()["kind"] == "throttled"
    assert client.get(LIST, headers=bearer(token)).status_code == 200


def test_nobody_is_held_up_while_redis_is_away(token: str, client: Client, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 1
    settings.CACHES = {name: {**cache, "LOCATION": "redis://127.0.0.1:1/0"} for name, cache in settings.CACHES.items()}

    assert [retry_all(client, headers=bearer(token)).status_code for _ in range(2)] == [409, 409]


def test_who_asked_and_from_where_is_recorded(token: str, client: Client) -> None:
    SubscriptionFactory(failed=True)

    retry_all(client, headers=bearer(token), REMOTE_ADDR="192.0.2.7")

    operation = Operation.objects.get()
    assert (operation.asked_by, operation.source, operation.address) == ("a-operator", "api", "192.0.2.7")
    assert operation.user is not None


def test_a_token_costs_two_statements_and_no_permission_is_asked_for_twice(token: str, client: Client) -> None:
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST, headers=bearer(token))
        counts.append(len(queries))

    # The token, its use, two for the audit once, the user's permissions and the groups', the operations.
    assert counts == [7, 5]
