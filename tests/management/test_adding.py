"""app_add, repository_add, subscribe: what they add, what they show, what they refuse."""

import io
import uuid
from pathlib import Path

import pytest

from syncsvc.delivery.signing import new_secret
from syncsvc.models import App, Repository, Subscription, Trigger
from syncsvc.operations.apps import PROFILE_NAMES
from tests.delivery.authority import Authority
from tests.factories import AppFactory, RepositoryFactory
from tests.keys import private_key
from tests.management.conftest import Run

HOOK = "https://client.example.com/hook"
NO_AUTHENTICATION = {"headers": [], "ca_certificate": [], "client_certificate": None}
REMOTE = "https://git.example.com/owner/repo.git"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("a-token-that-nobody-may-see\n")
    return file


def test_app_add_shows_the_secret_it_made_this_once(run: Run) -> None:
    done = run("app_add", "client", HOOK, "--json")
    app = App.objects.get()
    assert done.code == 0
    profile = {**{name: getattr(app, name) for name in PROFILE_NAMES}, "request_timeout": 15.0}
    profile |= {"signing": "hmac-sha256", "public_key": None}
    secret = app.secret.reveal()
    assert done.json == {
        "id": str(app.id),
        "name": "client",
        "url": HOOK,
        "secret": secret,
        **profile,
        **NO_AUTHENTICATION,
    }
    limits = {"max_batch": 1, "max_in_flight": 16, "max_per_second": None, "timeout": None}
    assert {name: done.json[name] for name in limits} == limits


def test_app_add_in_words(run: Run) -> None:
    done = run("app_add", "client", HOOK)
    assert done.out == f"client added. Its signing secret, shown this once: {App.objects.get().secret.reveal()}\n"
    assert done.err == ""


def test_app_add_takes_a_secret_from_a_file_and_its_limits(run: Run, tmp_path: Path) -> None:
    secret = new_secret()
    (tmp_path / "s").write_text(f"{secret}\n")
    limits = ("--max-batch=50", "--max-in-flight=4", "--max-per-second=100", "--timeout=2.5")
    assert run("app_add", "c", HOOK, "--secret-file", tmp_path / "s", *limits).code == 0
    app = App.objects.get()
    assert (app.secret.reveal(), app.max_batch, app.max_in_flight) == (secret, 50, 4)
    assert (app.max_per_second, app.timeout) == (100, 2.5)


def test_app_add_takes_a_secret_from_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = new_secret()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{secret}\n".encode())))
    assert run("app_add", "c", HOOK, "--secret-file", "-", "--json").json["secret"] == secret


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("Client!", HOOK), "invalid", "name: An app's name is made of a-z"),
        ((str(uuid.uuid4()), HOOK), "invalid", "must not look like a UUID"),
        (("client", "ftp://client.example.com/"), "invalid", "url: "),
        (("client", "https://me:pw@client.example.com/"), "invalid", "url: "),
        (("client", HOOK, "--max-batch=1001"), "invalid", "max-batch: "),
        (("client", HOOK, "--max-batch=0"), "usage", "--max-batch: invalid whole number, 1 or more value: '0'"),
        (("client", HOOK, "--secret-file=/nonexistent"), "invalid", "The file /nonexistent cannot be read"),
        (("client",), "usage", "the following arguments are required: URL"),
        (("client", HOOK, "--no-such"), "usage", "unrecognized arguments: --no-such"),
    ],
)
def test_app_add_refuses_what_cannot_be(run: Run, arguments: tuple[str, ...], kind: str, says: str) -> None:
    refused = run("app_add", *arguments, "--json")
    assert refused.refusal == kind
    assert says in refused.json["error"]["message"]
    in_words = run("app_add", *arguments)
    assert (in_words.code, in_words.out) == (2, "")
    assert says in in_words.err
    assert not App.objects.exists()


def test_app_add_refuses_a_secret_that_is_none_without_showing_it(run: Run, secret_file: Path) -> None:
    refused = run("app_add", "client", HOOK, "--secret-file", secret_file, "--json")
    assert refused.refusal == "invalid"
    assert "nobody-may-see" not in refused.out + refused.err


def test_app_add_refuses_a_name_that_is_taken(run: Run) -> None:
    AppFactory.create(name="client")
    assert run("app_add", "client", HOOK, "--json").refusal == "conflict"


def test_a_shortened_option_is_wrong_usage_so_that_json_is_always_recognised(run: Run) -> None:
    assert run("app_add", "client", HOOK, "--js").code == 2
    assert not App.objects.exists()


@pytest.mark.parametrize("name", ["two\nlines", " space", "0b9fdb0a-6a27-4f6b-8f0b-3f8a0f2c9c1e"])
def test_a_repository_is_not_named_what_commands_could_not_take(run: Run, name: str) -> None:
    done = run("repository_add", REMOTE, "--name", name, "--json")
    assert done.refusal == "invalid"
    assert "name" in done.json["error"]["message"]


def test_repository_add_names_it_after_its_url(run: Run) -> None:
    done = run("repository_add", f"{REMOTE}/", "--json")
    repository = Repository.objects.get()
    assert done.json == {"id": str(repository.id), "name": "owner/repo", "url": REMOTE, "branch": ""}
    assert (done.code, repository.poll_seconds, repository.token) == (0, None, None)


def test_repository_add_adds_the_branch_where_the_name_is_taken_then_refuses(run: Run) -> None:
    for branch, name in (("", "owner/repo"), ("v2", "owner/repo@v2"), ("", "owner/repo@HEAD")):
        assert run("repository_add", REMOTE, "--branch", branch, "--json").json["name"] == name
    refused = run("repository_add", REMOTE, "--json")
    assert refused.refusal == "conflict"
    assert "--name" in refused.json["error"]["message"]
    assert run("repository_add", REMOTE, "--name=mine", "--poll=5", "--json").json["name"] == "mine"
    assert Repository.objects.get(name="mine").poll_seconds == 5


def test_repository_add_keeps_a_token_to_itself(run: Run, secret_file: Path) -> None:
    done = run("repository_add", REMOTE, "--username=me", "--token-file", secret_file, "--json")
    repository = Repository.objects.get()
    assert repository.username == "me"
    assert repository.token.reveal() == "a-token-that-nobody-may-see"
    assert "nobody-may-see" not in done.out + done.err


def test_repository_add_takes_a_key_with_its_known_hosts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("git.example.com ssh-ed25519 AAAA\n")
    (tmp_path / "key").write_text(f"{private_key()}\n")
    files = ("--ssh-key-file", tmp_path / "key", "--known-hosts-file", tmp_path / "hosts")
    done = run("repository_add", "git@git.example.com:owner/repo.git", *files)
    repository = Repository.objects.get()
    assert done.out == "owner/repo added, following the branch of its HEAD\n"
    assert repository.ssh_key.reveal() == private_key()
    assert repository.known_hosts == "git.example.com ssh-ed25519 AAAA"


@pytest.mark.parametrize("written", [b"\xef\xbb\xbft0ken\r\n", b"  t0ken\n\n", b"t0ken"])
def test_a_token_is_stored_without_what_editors_add(run: Run, tmp_path: Path, written: bytes) -> None:
    """With a byte order mark it once passed, and each request was refused."""
    file = tmp_path / "token"
    file.write_bytes(written)
    assert run("repository_add", REMOTE, "--username=me", "--token-file", file).code == 0
    assert Repository.objects.get().token.reveal() == "t0ken"


@pytest.mark.parametrize("option", ["--token-file", "--ssh-key-file", "--known-hosts-file", "--ca-file"])
@pytest.mark.parametrize("content", [b"a\0b", b"\xff\xfea\0", b"", b"x" * 70_000])
def test_a_file_that_is_no_text_is_the_wrong_file(run: Run, tmp_path: Path, option: str, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    RepositoryFactory.create(name="a", url=REMOTE)
    assert run("repository_change", "a", option, tmp_path / "f", "--json").refusal == "invalid"


def test_a_token_of_two_lines_is_the_wrong_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("machine git.example.com\nlogin me\n")
    refused = run("repository_add", REMOTE, "--username=me", "--token-file", file, "--json")
    assert refused.refusal == "invalid"
    assert "login" not in refused.out + refused.err


def test_repository_add_refuses_what_is_no_key_and_does_not_show_it(run: Run, secret_file: Path) -> None:
    files = ("--ssh-key-file", secret_file, "--known-hosts-file", secret_file)
    refused = run("repository_add", "git@git.example.com:owner/repo.git", *files, "--json")
    assert refused.refusal == "invalid"
    assert "no private key" in refused.json["error"]["message"]
    assert "nobody-may-see" not in refused.out + refused.err
    assert not Repository.objects.exists()


@pytest.mark.parametrize(
    ("url", "stored", "username"),
    [
        ("https://acme@dev.azure.com/acme/My%20Web/_git/web", "https://dev.azure.com/acme/My%20Web/_git/web", "acme"),
        (" https://mary@bitbucket.org/acme/web.git/ ", "https://bitbucket.org/acme/web.git", "mary"),
    ],
)
def test_repository_add_takes_the_user_from_a_hosts_clone_url(
    run: Run, secret_file: Path, url: str, stored: str, username: str
) -> None:
    done = run("repository_add", url, "--token-file", secret_file, "--json")
    repository = Repository.objects.get()
    assert done.json["url"] == repository.url == stored
    assert repository.username == username
    assert repository.remote.credential is not None


def test_repository_add_takes_a_name_that_is_given_before_the_urls(run: Run, secret_file: Path) -> None:
    run("repository_add", "https://acme@dev.azure.com/a/b", "--username=mary", "--token-file", secret_file)
    assert Repository.objects.get().username == "mary"


def test_repository_add_takes_a_ca(run: Run, tmp_path: Path, secret_file: Path) -> None:
    authority = Authority(tmp_path).file
    assert run("repository_add", REMOTE, "--ca-file", authority).code == 0
    assert Repository.objects.get().ca_certificate == authority.read_text().strip()
    refused = run("repository_add", REMOTE, "--name=other", "--ca-file", secret_file, "--json")
    assert refused.refusal == "invalid"
    assert "certificate" in refused.json["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("ext::sh -c id",), "invalid"),
        (("https://me:s3cret@git.example.com/owner/repo",), "invalid"),
        ((REMOTE, "--branch=refs/heads/main"), "invalid"),
        ((REMOTE, "--username=me"), "usage"),
        ((REMOTE, "--token-file=-"), "usage"),
        ((REMOTE, "--ssh-key-file=-"), "usage"),
        ((REMOTE, "--ssh-key-file=-", "--known-hosts-file=-"), "usage"),
        ((REMOTE, "--username=me", "--token-file=a", "--ssh-key-file=b", "--known-hosts-file=c"), "usage"),
        ((REMOTE, "--poll=0"), "usage"),
        ((REMOTE, f"--name={'n' * 201}"), "invalid"),
    ],
)
def test_repository_add_refuses_what_cannot_be(run: Run, arguments: tuple[str, ...], kind: str) -> None:
    refused = run("repository_add", *arguments, "--json")
    assert refused.refusal == kind
    assert "s3cret" not in refused.out + refused.err
    assert not Repository.objects.exists()


def test_subscribe_makes_a_pending_subscription_that_is_queued(run: Run) -> None:
    app, repository = AppFactory.create(name="client"), RepositoryFactory.create(name="owner/repo")
    done = run("subscribe", "client", repository.id, "--json")
    subscription = Subscription.objects.get()
    row = {"id": str(subscription.id), "app": "client", "repository": "owner/repo", "status": "pending"}
    assert (done.code, done.json) == (0, row)
    assert (subscription.app, subscription.trigger) == (app, Trigger.SUBSCRIBED)
    assert subscription.queued_at is not None


def test_subscribe_says_when_a_paused_one_will_run(run: Run) -> None:
    AppFactory.create(name="client", is_active=False)
    RepositoryFactory.create(name="owner/repo")
    done = run("subscribe", "client", "owner/repo")
    assert done.out == "client/owner/repo added; it is paused, and runs when it is resumed\n"


def test_subscribe_refuses_a_second_time_and_what_is_not_there(run: Run) -> None:
    AppFactory.create(name="client")
    RepositoryFactory.create(name="owner/repo")
    assert run("subscribe", "client", "owner/repo").code == 0
    assert run("subscribe", "client", "owner/repo", "--json").refusal == "conflict"
    assert run("subscribe", "nobody", "owner/repo", "--json").refusal == "not_found"
    assert run("subscribe", "client", "nothing", "--json").refusal == "not_found"
    assert run("subscribe", "client", uuid.uuid4(), "--json").refusal == "not_found"
