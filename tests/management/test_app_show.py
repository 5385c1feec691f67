"""app_show, and the option --signing: public keys are shown, private ones never."""

from pathlib import Path

import pytest
from django.utils import timezone

from syncsvc.delivery.signing import Signing, new_secret, public_key
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE_NAMES
from tests.delivery.authority import Authority
from tests.factories import AppFactory
from tests.management.conftest import Run

HOOK = "https://client.example.com/hook"


def test_an_app_is_shown_without_its_secrets(run: Run, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).client(days=5)
    app = AppFactory(name="client", url=HOOK, headers="X-Key: s3cr3t", client_certificate=certificate, client_key=key)

    document = run("app_show", "client", "--json")
    shown = document.json
    assert {name: shown[name] for name in ("id", "name", "url", "is_active")} == {
        "id": str(app.id),
        "name": "client",
        "url": HOOK,
        "is_active": True,
    }
    assert set(PROFILE_NAMES) <= set(shown)
    assert shown["signers"] == [{"signing": "hmac-sha256", "public_key": None, "until": None}]
    assert (shown["headers"], shown["client_certificate"]["subject"]) == (["X-Key"], "CN=syncsvc")

    words = run("app_show", str(app.id))
    assert "signs by hmac-sha256\n" in words.out
    assert "headers: X-Key\n" in words.out
    assert "give the app a renewed one" in words.out
    for seen in (document.out, words.out):
        assert "s3cr3t" not in seen
        assert "whsec_" not in seen
        assert "PRIVATE" not in seen


def test_an_app_that_is_not_there_is_said(run: Run) -> None:
    assert run("app_show", "nobody", "--json").refusal == "not_found"


def test_a_key_pair_is_made_by_an_option_and_only_its_public_key_is_shown(run: Run) -> None:
    added = run("app_add", "client", HOOK, "--signing=ed25519", "--json")
    key = public_key(App.objects.get().secret.reveal())
    assert (added.json["secret"], added.json["signing"], added.json["public_key"]) == (None, "ed25519", key)
    assert "whsk_" not in added.out

    in_words = run("app_show", "client").out
    assert f"signs by ed25519: {key}\n" in in_words


def test_an_app_goes_over_to_a_key_pair_and_back(run: Run) -> None:
    run("app_add", "client", HOOK)
    to_pair = run("secret_rotate", "client", "--signing=ed25519", "--yes", "--json").json
    assert to_pair["secret"] is None
    again = run("secret_rotate", "client", "--yes", "--force")
    key = public_key(App.objects.get().secret.reveal())
    assert f"public key of client, for who verifies: {key}" in again.out
    assert "whsk_" not in again.out
    back = run("secret_rotate", "client", "--signing=hmac-sha256", "--yes", "--force", "--json").json
    assert back["secret"] == App.objects.get().secret.reveal()
    assert (back["signing"], back["public_key"]) == ("hmac-sha256", None)
    signers = run("app_show", "client", "--json").json["signers"]
    assert [one["public_key"] for one in signers] == [None, key, to_pair["public_key"], None]
    assert [one["until"] is None for one in signers] == [True, False, False, False]


@pytest.mark.parametrize("command", [("app_add", "other", HOOK), ("secret_rotate", "client", "--yes")])
def test_a_secret_that_is_brought_along_says_how_it_signs(command: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    run("app_add", "client", HOOK)
    pair, file = new_secret(Signing.ED25519), tmp_path / "key"
    file.write_text(f"{pair}\n")
    contradicts = run(*command, f"--secret-file={file}", "--signing=hmac-sha256", "--json")
    assert contradicts.refusal == "invalid"
    assert pair not in contradicts.out
    assert run(*command, f"--secret-file={file}", "--json").json["public_key"] == public_key(pair)
    assert App.objects.get(name=command[1]).signing_secrets(timezone.now())[0] == pair


def test_another_way_of_signing_is_no_option(run: Run) -> None:
    assert run("app_add", "client", HOOK, "--signing=rsa", "--json").refusal == "usage"
