"""What the API says of itself, held against what it does."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from syncsvc.api.console import api
from tests.api.conftest import Calls
from tests.factories import SubscriptionFactory

pytestmark = pytest.mark.django_db

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 10
ENTRANCES = [(method, path) for path, methods in api.get_openapi_schema()["paths"].items() for method in methods]


@pytest.fixture
def known(administrator: Calls, settings: Any) -> Iterator[dict[str, str]]:
    """Ids of things that there are."""
    settings.API_CALLS_PER_MINUTE = 10**9
    SubscriptionFactory(failed=True)
    operation = administrator("post", "retry/all").json()["data"]["operation_id"]
    subscription = SubscriptionFactory(failed=True)
    # As Django's own test client does it: the test's transaction goes on after a request.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield {
        "app_id": str(subscription.app_id),
        "repository_id": str(subscription.repository_id),
        "operation_id": operation,
    }
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.mark.parametrize(("method", "path"), ENTRANCES)
def test_whatever_is_sent_the_answer_is_one_that_is_described(
    method: str, path: str, known: dict[str, str], member: Any, token_of: Any
) -> None:
    described = schemathesis.openapi.from_dict(api.get_openapi_schema())
    described.app = get_wsgi_application()
    # Uncompressed: the client that runs within the process does not unpack.
    headers = {"Authorization": f"Bearer {token_of(member('administrator'))}", "Accept-Encoding": "identity"}

    @given(case=described[path][method.upper()].as_strategy(), real=st.booleans())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: Any, real: bool) -> None:
        if real:
            case.path_parameters = {**case.path_parameters, **known} if case.path_parameters else case.path_parameters
            if isinstance(case.body, dict):
                case.body = {name: known.get(name, value) for name, value in case.body.items() if name != "digest"}
        case.call_and_validate(headers=headers, checks=CHECKS)

    holds()


def test_the_page_is_behind_the_login(client: Client) -> None:
    for page in ("docs", "openapi.json"):
        answer = client.get(f"/admin/api/{page}")
        assert (answer.status_code, answer["Location"][:13]) == (302, "/admin/login/")


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_inline_script(admin_client: Client) -> None:
    page = admin_client.get("/admin/api/docs").text

    assert "://" not in page
    scripts = re.findall(r"<script[^>]*>", page)
    assert all("src=" in script or "application/json" in script for script in scripts)
    assert admin_client.get("/admin/api/openapi.json").json()["info"]["title"] == "syncsvc"
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        file = admin_client.get(asset)
        file.close()
        assert file.status_code == 200


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_address_that_the_api_does_not_have_is_a_problem(method: str, client: Client) -> None:
    for path in ("nothing", "retry/", "operations/1/2/3"):
        answer = Client(enforce_csrf_checks=True).generic(method.upper(), f"/admin/api/{path}")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"null", b"[]", b'{"app_id": "\\ud800"}'])
def test_a_body_that_is_none_is_a_problem(body: bytes, operator: Calls, member: Any, token_of: Any) -> None:
    headers = {"Authorization": f"Bearer {token_of(member('operator'))}"}
    answer = Client().generic("POST", "/admin/api/retry", body, content_type="application/json", headers=headers)

    assert answer.status_code in (400, 422)
    assert answer["Content-Type"] == "application/problem+json"


def test_every_entrance_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text(encoding="utf-8")
    examples = {("post", "retry"), ("post", "resync"), ("post", "preview")}

    for method, path in ENTRANCES:
        name = path.removeprefix("/admin/api/")
        assert (f"$SYNCSVC/{name} -d" if (method, name) in examples else f"`{method.upper()} {name}`") in page


def test_generated_clients_get_names_that_are_one_entrances_own() -> None:
    names = [one["operationId"] for path in api.get_openapi_schema()["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names) == len(ENTRANCES)
