"""An app in the API: what people may see of it, and no secret."""

import uuid
from pathlib import Path

import pytest
from django.utils import timezone

from syncsvc.delivery.signing import Signing, new_secret, public_key
from syncsvc.models import App
from syncsvc.models.fields import EndingSecret, Sealed
from syncsvc.operations.apps import PROFILE_NAMES
from syncsvc.operations.secrets import OVERLAP
from tests.api.conftest import Calls
from tests.delivery.authority import Authority
from tests.factories import AppFactory

pytestmark = pytest.mark.django_db


def test_an_app_is_shown_without_its_secrets(operator: Calls, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).client()
    pair, before, until = new_secret(Signing.ED25519), new_secret(), timezone.now() + OVERLAP
    app = AppFactory(
        secret=pair,
        previous_secrets=[EndingSecret(Sealed.seal(before), until)],
        headers="Authorization: Bearer s3cr3t",
        client_certificate=certificate,
        client_key=key,
    )

    answer = operator("get", f"apps/{app.pk}")

    shown = answer.json()["data"]
    assert (shown["id"], shown["name"], shown["headers"]) == (str(app.pk), app.name, ["Authorization"])
    assert set(PROFILE_NAMES) <= set(shown)
    assert shown["client_certificate"]["subject"] == "CN=syncsvc"
    assert [(one["signing"], one["public_key"]) for one in shown["signers"]] == [
        ("ed25519", public_key(pair)),
        ("hmac-sha256", None),
    ]
    assert [secret for secret in ("s3cr3t", "whsk_", "whsec_", "PRIVATE") if secret in answer.text] == []


def test_an_app_that_is_not_there_is_a_problem(operator: Calls) -> None:
    assert operator("get", f"apps/{uuid.uuid4()}").status_code == 404
    assert not App.objects.exists()


def test_secrets_that_no_key_reads_are_a_problem_that_says_so(operator: Calls) -> None:
    app = AppFactory()
    App.objects.update(headers=Sealed(b"of another key"))
    answer = operator("get", f"apps/{app.pk}")
    assert answer.status_code == 503
    assert "ENCRYPTION_KEYS" in answer.json()["detail"]
