"""app_change, repository_change, secret_rotate: what they change, show and refuse."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from syncsvc.delivery.signing import new_secret
from syncsvc.models import App, Repository
from syncsvc.operations.apps import PROFILE_NAMES
from tests.delivery.authority import Authority
from tests.factories import AppFactory, DeliveredFileFactory, RepositoryFactory, SubscriptionFactory, deeds
from tests.keys import private_key
from tests.management.conftest import Run
from tests.management.working import Terminal
from tests.outages import open_circuit

HOOK = "https://new.example.com/hook"
REMOTE = "https://git.example.com/owner/repo.git"
LATER = timedelta(hours=1)


def file_of(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(f"{text}\n")
    return file


def test_an_app_is_changed(run: Run) -> None:
    app = AppFactory.create(name="client", url="https://old.example.com/")
    done = run(
        *("app_change", "client", "--name=customer", f"--url={HOOK} ", "--max-batch=50", "--max-in-flight=16", "--json")
    )
    assert done.code == 0
    assert done.json == {
        "id": str(app.id),
        "name": "customer",
        "url": HOOK,
        **{name: getattr(App.objects.get(), name) for name in PROFILE_NAMES},
        "request_timeout": 15.0,
        "headers": [],
        "ca_certificate": [],
        "client_certificate": None,
        "changed": ["name", "url", "max_batch"],
        "dropped": [],
        "old_url_files": 0,
        "old_url_subscriptions": 0,
    }
    assert (done.json["max_batch"], done.json["max_in_flight"]) == (50, 16)
    changed = App.objects.get()
    assert (changed.name, changed.url, changed.max_batch) == ("customer", HOOK, 50)


def test_another_url_closes_the_circuit_and_another_limit_does_not(run: Run) -> None:
    app = AppFactory.create(name="client")
    failed = SubscriptionFactory.create(app=app, failed=True, error_kind="endpoint_gone")
    open_circuit(app.pk)
    run("app_change", "client", "--max-batch=2")
    assert App.objects.get().circuit_opened_at is not None
    run("app_change", "client", f"--url={HOOK}")
    assert App.objects.get().circuit_opened_at is None
    failed.refresh_from_db()
    assert failed.due_at <= timezone.now()


def test_in_words_it_says_what_changed(run: Run) -> None:
    AppFactory.create(name="client", max_batch=1)
    assert run("app_change", "client", "--max-batch=2", "--max-in-flight=3").out == (
        "client changed: max batch, max in flight\n"
    )
    assert run("app_change", "client", "--max-batch=2").out == "client is like that already\n"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("client",), "usage"),
        (("nobody", "--name=x"), "not_found"),
        (("client", "--name=taken"), "conflict"),
        (("client", "--name=No!"), "invalid"),
        (("client", "--name=client\n"), "invalid"),
        (("client", "--name=\udcff"), "invalid"),
        (("client", "--url=new.example.com"), "invalid"),
        (("client", "--url=https://new.example.com/a b"), "invalid"),
        (("client", "--max-batch=1000"), "invalid"),
        (("client", "--max-batch=0"), "usage"),
        (("client", "--max-batch=none"), "usage"),
        (("client", "--max-per-second=0"), "usage"),
        (("client", "--max-per-second=100001"), "invalid"),
        (("client", "--timeout=0"), "usage"),
        (("client", "--timeout=nan"), "usage"),
        (("client", "--timeout=inf"), "usage"),
        (("client", "--timeout=601"), "invalid"),
    ],
)
def test_an_app_is_not_changed_to_what_cannot_be(run: Run, arguments: tuple[str, ...], kind: str) -> None:
    AppFactory.create(name="client")
    AppFactory.create(name="taken")
    before = list(App.objects.order_by("name").values("name", "url", "max_batch"))
    assert run("app_change", *arguments, "--json").refusal == kind
    assert list(App.objects.order_by("name").values("name", "url", "max_batch")) == before


def test_what_the_old_url_had_is_said_until_it_is_dismissed(run: Run) -> None:
    app = AppFactory.create(name="client", url="https://old.example.com/")
    DeliveredFileFactory.create_batch(2, subscription=SubscriptionFactory.create(app=app, synced=True))

    moved = run("app_change", "client", f"--url={HOOK}")
    assert "The old URL had acknowledged 2 files of 1 subscription: the new one does not have them." in moved.out
    assert "--dismiss-old-url" in moved.out

    later = run("app_change", "client", "--max-batch=2", "--json").json
    assert (later["old_url_files"], later["old_url_subscriptions"]) == (2, 1)
    assert run("app_change", "client", "--dismiss-old-url").out == "Dismissed: 2 files of 1 subscription\n"
    again = run("app_change", "client", "--dismiss-old-url", "--json")
    assert (again.code, again.json["old_url_files"], again.json["changed"]) == (0, 0, [])


def test_a_limit_may_be_agreed_and_taken_back(run: Run) -> None:
    AppFactory.create(name="client")
    agreed = run("app_change", "client", "--max-per-second=96", "--timeout=2.5", "--json").json
    assert (agreed["max_per_second"], agreed["timeout"], agreed["request_timeout"]) == (96, 2.5, 2.5)
    assert agreed["changed"] == ["max_per_second", "timeout"]
    without = run("app_change", "client", "--max-per-second=none", "--timeout=none", "--json").json
    assert (without["max_per_second"], without["timeout"], without["request_timeout"]) == (None, None, 15.0)
    assert without["changed"] == ["max_per_second", "timeout"]


def test_a_timeout_that_is_longer_than_a_lease_allows_is_capped_and_said(run: Run) -> None:
    AppFactory.create(name="client")
    done = run("app_change", "client", "--timeout=600")
    assert "600 s counts as 48 s" in done.err
    assert App.objects.get().timeout == 600
    assert run("app_change", "client", "--timeout=600", "--json").json["request_timeout"] == 48
    assert run("app_change", "client", "--timeout=48").err == ""


def test_what_is_stored_already_is_no_hindrance(run: Run) -> None:
    AppFactory.create(name="client", url="https://no longer allowed/")
    assert run("app_change", "client", "--max-batch=7").code == 0
    assert App.objects.get().max_batch == 7


def test_a_repository_is_changed(run: Run) -> None:
    repository = RepositoryFactory.create(name="a", url="https://old.example.com/a/b")
    done = run("repository_change", "a", "--name=b", f"--url={REMOTE}/", "--branch=next", "--poll=7", "--json")
    assert done.json == {
        "id": str(repository.id),
        "name": "b",
        "url": REMOTE,
        "branch": "next",
        "poll_seconds": 7,
        "changed": ["name", "url", "branch", "poll_seconds"],
    }
    assert Repository.objects.get().url == REMOTE
    assert run("repository_change", "b", "--branch=", "--json").json["branch"] == ""
    assert run("repository_change", "b", "--poll=none", "--json").json["poll_seconds"] is None


def test_another_credential_is_tried_now_and_kept_to_itself(run: Run, tmp_path: Path) -> None:
    due = timezone.now() + LATER
    RepositoryFactory.create(name="a", url=REMOTE, due_at=due, failure_streak=3, error_kind="git_auth")
    token = file_of(tmp_path, "token", "a-token-that-nobody-may-see")

    done = run("repository_change", "a", "--username=me", "--token-file", token, "--json")

    repository = Repository.objects.get()
    assert (done.json["changed"], "nobody-may-see" in done.out + done.err) == (["token", "username"], False)
    assert (repository.username, repository.token.reveal()) == ("me", "a-token-that-nobody-may-see")
    assert repository.due_at < due
    assert (repository.failure_streak, repository.error_kind) == (0, "")


AZURE = "https://acme@dev.azure.com/acme/web/_git/web"


@pytest.mark.parametrize(
    ("stored", "typed", "username"),
    [("", (), "acme"), ("old", (), "acme"), ("old", ("--username=me",), "me"), ("acme", (), "acme")],
)
def test_the_user_of_a_new_url_is_the_credentials(run: Run, stored: str, typed: tuple[str, ...], username: str) -> None:
    RepositoryFactory.create(name="a", url=REMOTE, username=stored, token="t")
    done = run("repository_change", "a", f"--url={AZURE}", *typed, "--json")
    repository = Repository.objects.get()
    assert (repository.url, repository.username) == ("https://dev.azure.com/acme/web/_git/web", username)
    assert ("username" in done.json["changed"]) is (username != stored)


@pytest.mark.parametrize("command", ["add", "change"])
def test_a_user_name_is_stored_as_it_was_checked(run: Run, tmp_path: Path, command: str) -> None:
    """With a space at its end it once passed, and each request was refused."""
    token = file_of(tmp_path, "token", "t")
    if command == "change":
        RepositoryFactory.create(name="a", url=REMOTE)
    first = ("repository_add", REMOTE, "--name=a") if command == "add" else ("repository_change", "a")
    assert run(*first, "--token-file", token, "--username=a:b", "--json").refusal == "invalid"
    assert run(*first, "--token-file", token, "--username= me\n").code == 0
    assert Repository.objects.get().username == "me"


def test_a_public_repository_whose_url_names_a_user_can_be_changed(run: Run) -> None:
    assert run("repository_add", AZURE, "--name=a").code == 0
    assert run("repository_change", "a", "--poll=7").code == 0
    assert run("repository_change", "a", f"--url={AZURE.replace('acme@', 'mary@')}").code == 0
    assert Repository.objects.get().username == "mary"
    assert run("repository_change", "a", "--username=me", "--json").refusal == "invalid"


def test_a_ca_is_exchanged_and_forgotten_whatever_the_credential(run: Run, tmp_path: Path) -> None:
    RepositoryFactory.create(name="a", url=REMOTE, username="me", token="t")
    certificate = Authority(tmp_path).file
    assert run("repository_change", "a", "--ca-file", certificate, "--no-credential").code == 0
    assert Repository.objects.get().ca_certificate == certificate.read_text().strip()
    assert Repository.objects.get().token is None
    assert run("repository_change", "a", "--ca-file", certificate, "--no-ca", "--json").refusal == "usage"
    assert run("repository_change", "a", "--no-ca", "--json").json["changed"] == ["ca_certificate"]
    assert Repository.objects.get().ca_certificate == ""


def test_a_key_takes_the_place_of_a_token_and_none_of_both(run: Run, tmp_path: Path) -> None:
    RepositoryFactory.create(name="a", url=REMOTE, username="me", token="t")
    key, hosts = file_of(tmp_path, "key", private_key()), file_of(tmp_path, "hosts", "host ssh-ed25519 AAAA")
    ssh = "git@git.example.com:owner/repo.git"

    assert run("repository_change", "a", f"--url={ssh}", "--json").refusal == "invalid"
    assert run("repository_change", "a", f"--url={ssh}", "--ssh-key-file", key, "--json").refusal == "invalid"
    assert Repository.objects.get().url == REMOTE
    files = ("--ssh-key-file", key, "--known-hosts-file", hosts)
    assert run("repository_change", "a", f"--url={ssh}", *files).code == 0
    repository = Repository.objects.get()
    assert (repository.token, repository.username, repository.ssh_key.reveal()) == (None, "", private_key())
    # A key alone is exchanged; the hosts that are known stay.
    private_key.cache_clear()
    other = file_of(tmp_path, "other", private_key())
    assert run("repository_change", "a", "--ssh-key-file", other).code == 0
    assert Repository.objects.get().known_hosts == "host ssh-ed25519 AAAA"

    assert run("repository_change", "a", f"--url={REMOTE}", "--no-credential").code == 0
    repository = Repository.objects.get()
    assert (repository.ssh_key, repository.known_hosts) == (None, "")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("a",), "usage"),
        (("nobody", "--name=x"), "not_found"),
        (("a", "--name=taken"), "conflict"),
        (("a", "--url=ext::sh -c id"), "invalid"),
        (("a", "--branch=refs/heads/x"), "invalid"),
        (("a", "--branch=\udcff"), "invalid"),
        (("a", "--username=me"), "invalid"),
        (("a", "--token-file=/nonexistent"), "invalid"),
        (("a", "--no-credential", "--username=me"), "usage"),
        (("a", "--token-file=a", "--ssh-key-file=b"), "usage"),
        (("a", "--ssh-key-file=-", "--known-hosts-file=-"), "usage"),
        (("a", "--poll=0"), "usage"),
    ],
)
def test_a_repository_is_not_changed_to_what_cannot_be(run: Run, arguments: tuple[str, ...], kind: str) -> None:
    RepositoryFactory.create(name="a", url=REMOTE)
    RepositoryFactory.create(name="taken")
    before = list(Repository.objects.order_by("name").values())
    assert run("repository_change", *arguments, "--json").refusal == kind
    assert list(Repository.objects.order_by("name").values()) == before


def test_a_user_s_change_is_in_the_log(run: Run) -> None:
    AppFactory.create(name="client")
    RepositoryFactory.create(name="a")
    User.objects.create_user("ann")
    run("app_change", "client", f"--url={HOOK}", "--as=ann")
    run("repository_change", "a", "--branch=x", "--as=ann")
    run("secret_rotate", "client", "--yes", "--as=ann")
    said = [entry.text for entry in deeds()]
    assert said == ["Changed url.", "Changed branch.", "Rotated the secret."]


def test_a_secret_is_rotated_and_shown_once(run: Run) -> None:
    app = AppFactory.create(name="client")
    done = run("secret_rotate", "client", "--yes", "--json")
    new, old = App.objects.get().signing_secrets(timezone.now())
    assert done.code == 0
    assert set(done.json) == {"app", "secret", "signing", "public_key", "previous_valid_until", "previous_ends"}
    assert (done.json["app"], done.json["secret"], old) == ("client", new, app.secret.reveal())
    assert done.json["previous_valid_until"].startswith(f"{timezone.now() + timedelta(hours=24):%Y-%m-%dT}")
    assert new not in done.err


def test_a_second_rotation_meanwhile_is_a_conflict_unless_forced(run: Run, tmp_path: Path) -> None:
    made = AppFactory.create(name="client").secret.reveal()
    run("secret_rotate", "client", "--yes")
    before = App.objects.get().secret.reveal()
    assert run("secret_rotate", "client", "--yes", "--json").refusal == "conflict"
    assert "--force" in run("secret_rotate", "client", "--yes").err
    mine = new_secret()
    forced = run("secret_rotate", "client", "--force", "--yes", "--secret-file", file_of(tmp_path, "s", mine))
    assert forced.code == 0
    assert mine in forced.out
    assert "The 2 before sign too" in forced.out
    assert App.objects.get().signing_secrets(timezone.now()) == [mine, before, made]


def test_a_secret_comes_from_stdin_or_a_file_and_must_be_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    AppFactory.create(name="client")
    refused = run("secret_rotate", "client", "--yes", "--secret-file", file_of(tmp_path, "s", "my-secret"), "--json")
    assert refused.refusal == "invalid"
    assert "my-secret" not in refused.out + refused.err
    secret = new_secret()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{secret}\n".encode())))
    assert run("secret_rotate", "client", "--yes", "--secret-file=-", "--json").json["secret"] == secret


def test_nothing_is_rotated_without_being_asked_for_twice(run: Run) -> None:
    app = AppFactory.create(name="client")
    assert run("secret_rotate", "client", "--json").refusal == "confirm"
    with Terminal() as terminal:
        terminal.type("n", after=0.2)
        assert run("secret_rotate", "client").code == 2
    assert "Rotate the secret of client?" in terminal.seen
    assert App.objects.get().secret.reveal() == app.secret.reveal()
    assert run("secret_rotate", "nobody", "--yes", "--json").refusal == "not_found"
