"""Who may do what: every entrance, every group, both ways in."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from syncsvc.api.console import api

pytestmark = pytest.mark.django_db

EVERYBODY = {"viewer", "operator", "administrator"}
OPERATORS = {"operator", "administrator"}
ADMINISTRATORS = {"administrator"}
# What each entrance asks for: of groups, and of a token's scopes.
ENTRANCES = {
    "post retry": (OPERATORS, "retry"),
    "post retry/all": (OPERATORS, "retry"),
    "post retry/app/{app_id}": (OPERATORS, "retry"),
    "post retry/repository/{repository_id}": (OPERATORS, "retry"),
    "post retry/error/{kind}": (OPERATORS, "retry"),
    "post retry/selection": (OPERATORS, "retry"),
    "post operations/{operation_id}/retry-failed": (OPERATORS, "retry"),
    "post retry/cancel/{operation_id}": (OPERATORS, "cancel"),
    "post operations/{operation_id}/cancel": (OPERATORS, "cancel"),
    "post operations/{operation_id}/pause": (OPERATORS, "cancel"),
    "post operations/{operation_id}/resume": (OPERATORS, "cancel"),
    "post resync": (ADMINISTRATORS, "resync"),
    "post resync/app/{app_id}": (ADMINISTRATORS, "resync"),
    "post resync/repository/{repository_id}": (ADMINISTRATORS, "resync"),
    "post resync/selection": (ADMINISTRATORS, "resync"),
    "post preview": (EVERYBODY, "read"),
    "get retry/progress/{operation_id}": (EVERYBODY, "read"),
    "get operations": (EVERYBODY, "read"),
    "get operations/{operation_id}": (EVERYBODY, "read"),
    "get operations/{operation_id}/items": (EVERYBODY, "read"),
    "get operations/{operation_id}/errors": (EVERYBODY, "read"),
    "get apps/{app_id}": (EVERYBODY, "read"),
}
NOWHERE = {name: str(uuid.UUID(int=0)) for name in ("app_id", "repository_id", "operation_id")}


def request_of(entrance: str) -> tuple[str, str]:
    method, path = entrance.split()
    return method, path.format(**NOWHERE, kind="git_auth")


def test_the_table_has_every_entrance() -> None:
    described = api.get_openapi_schema()["paths"]
    found = {
        f"{method} {path.removeprefix('/admin/api/')}" for path, methods in described.items() for method in methods
    }
    assert found == ENTRANCES.keys()


@pytest.mark.parametrize("way", ["session", "token"])
@pytest.mark.parametrize("group", ["viewer", "operator", "administrator", ""])
def test_each_group_gets_in_where_it_should(group: str, way: str, calling: Callable[..., Any]) -> None:
    call = calling(group, way)
    answers = {entrance: call(*request_of(entrance)).status_code for entrance in ENTRANCES}

    assert 401 not in answers.values()
    assert {e for e, status in answers.items() if status == 403} == {
        e for e, (groups, _) in ENTRANCES.items() if group not in groups
    }


@pytest.mark.parametrize("scope", ["read", "retry", "resync", "cancel"])
def test_a_token_does_only_what_its_scopes_name(scope: str, calling: Callable[..., Any]) -> None:
    call = calling("administrator", "token", [scope])
    refused = {entrance for entrance in ENTRANCES if call(*request_of(entrance)).status_code == 403}

    assert refused == {entrance for entrance, (_, needed) in ENTRANCES.items() if needed != scope}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_nobody_gets_in_without_either(entrance: str, client: Client) -> None:
    method, path = request_of(entrance)

    answer = client.generic(method.upper(), f"/admin/api/{path}")

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer["Content-Type"] == "application/problem+json"


def test_what_the_groups_may(db: None) -> None:
    may = {
        group.name: set(group.permissions.values_list("codename", flat=True)) for group in Group.objects.order_by("id")
    }
    ours = set(Permission.objects.filter(content_type__app_label="syncsvc").values_list("codename", flat=True))

    assert may["viewer"] == {codename for codename in ours if codename.startswith("view_")} - {"view_auditentry"}
    assert may["operator"] == may["viewer"] | {"retry_subscription", "bulk_retry", "cancel_operation"}
    assert may["administrator"] == ours
    assert {"resync_subscription", "bulk_resync", "add_apitoken", "view_operation"} <= ours
    assert not Permission.objects.filter(group__name__in=may).exclude(content_type__app_label="syncsvc").exists()
