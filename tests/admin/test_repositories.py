"""Repositories in the console: names and credentials."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc.models import Repository
from tests.delivery.authority import Authority
from tests.factories import RepositoryFactory, deeds
from tests.keys import private_key

pytestmark = pytest.mark.django_db

ADD = "/admin/syncsvc/repository/add/"
KEY = private_key()


def page_of(repository: Repository) -> str:
    return reverse("admin:syncsvc_repository_change", args=[repository.pk])


def form(**values: str) -> dict[str, str]:
    blank = dict.fromkeys(("name", "branch", "poll_seconds", "username", "known_hosts", "new_token", "new_ssh_key"), "")
    blank["ca_certificate"] = ""
    return {**blank, "url": "https://git.example.com/owner/repo.git", "is_active": "on", **values}


def errors(response: Any) -> set[str]:
    return set(response.context["adminform"].form.errors)


def test_a_blank_name_becomes_the_urls_last_two_parts(console: Client) -> None:
    console.post(ADD, form())
    console.post(ADD, form(branch="next"))

    assert set(Repository.objects.values_list("name", flat=True)) == {"owner/repo", "owner/repo@next"}


def test_a_default_name_that_is_taken_asks_for_one(console: Client) -> None:
    console.post(ADD, form())

    assert errors(console.post(ADD, form())) == {"name"}


@pytest.mark.parametrize("url", ["-x", "ext::sh -c id", "https://user:pass@git.example.com/a/b", "ftp://h/a"])
def test_urls_that_git_could_misread_are_refused(url: str, console: Client) -> None:
    assert errors(console.post(ADD, form(url=url))) == {"url"}


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"url": "git@host:a/b.git"}, {"new_ssh_key"}),
        ({"url": "git@host:a/b.git", "new_ssh_key": KEY}, {"known_hosts", "new_ssh_key"}),
        ({"url": "ssh://git@host/a/b", "new_token": "t"}, {"new_token"}),
        (
            {"new_token": "t", "new_ssh_key": KEY, "known_hosts": "host ssh-ed25519 AAAA"},
            {"new_token", "new_ssh_key"},
        ),
        ({"new_ssh_key": KEY, "known_hosts": "host ssh-ed25519 AAAA"}, {"new_ssh_key"}),
        ({"url": "git://host/a/b", "new_token": "t"}, {"new_token"}),
        ({"username": "me"}, {"username"}),
        ({"username": "a:b", "new_token": "t"}, {"username", "new_token"}),
        ({"username": "me", "new_token": "t\nu"}, {"new_token"}),
        ({"url": "git@host:a/b.git", "new_ssh_key": "nonsense", "known_hosts": "h k v"}, {"new_ssh_key"}),
        ({"new_ssh_key": "ssh-ed25519 AAAA me"}, {"new_ssh_key", "known_hosts"}),
        ({"ca_certificate": "nonsense"}, {"ca_certificate"}),
    ],
)
def test_credentials_must_fit_the_url(values: dict[str, str], wrong: set[str], console: Client) -> None:
    assert errors(console.post(ADD, form(**values))) == wrong
    assert not Repository.objects.exists()


def test_credentials_go_in_and_never_come_out(console: Client) -> None:
    console.post(ADD, form(name="http", username="me", new_token="hidden-token"))
    console.post(ADD, form(name="ssh", url="git@host:a/b", new_ssh_key=KEY, known_hosts="host ssh-ed25519 AAAA"))

    http, ssh = Repository.objects.get(name="http"), Repository.objects.get(name="ssh")
    assert (http.token.reveal(), ssh.ssh_key.reveal()) == ("hidden-token", KEY)
    assert "hidden-token" not in console.get(page_of(http)).text
    assert "BEGIN OPENSSH" not in console.get(page_of(ssh)).text
    refused = console.post(page_of(http), form(name="http", url="nonsense", new_token="another-token"))
    assert "another-token" not in refused.text


def test_a_secret_that_is_not_shown_again_is_asked_for_again(console: Client) -> None:
    """Whoever corrects another field would save without it."""
    ssh = RepositoryFactory(name="ssh", url="git@host:a/b", ssh_key=KEY, known_hosts="host ssh-ed25519 AAAA")
    for address in (ADD, page_of(ssh)):
        values = {"url": "git@host:a/b", "known_hosts": "host ssh-ed25519 AAAA", "new_ssh_key": KEY}
        refused = console.post(address, form(name="other", poll_seconds="0", **values))
        assert errors(refused) == {"poll_seconds", "new_ssh_key"}
        assert "type it again" in refused.text
        assert KEY.splitlines()[1] not in refused.text


def test_a_form_that_a_browser_sends_back_as_it_is_polls_nothing_afresh(console: Client, tmp_path: Path) -> None:
    """With line ends of its own; lines that a browser stored before are no change, either."""
    certificate = Authority(tmp_path).file.read_text().strip()
    hosts = "host ssh-ed25519 AAAA\nhost ecdsa-sha2-nistp256 BBBB"
    due = timezone.now() + timedelta(hours=1)
    https = RepositoryFactory(name="https", ca_certificate=certificate, due_at=due, url="https://git.example.com/a")
    ssh = RepositoryFactory(name="ssh", url="git@host:a/b", ssh_key=KEY, known_hosts=hosts, due_at=due)
    for repository, values in ((https, {"ca_certificate": certificate}), (ssh, {"known_hosts": hosts})):
        for stored in ("\n", "\r\n"):
            Repository.objects.filter(pk=ssh.pk).update(known_hosts=hosts.replace("\n", stored), due_at=due)
            sent = {name: text.replace("\n", "\r\n") + "\r\n" for name, text in values.items()}
            console.post(page_of(repository), form(name=f"renamed-{len(stored)}", url=repository.url, **sent))
            changed = Repository.objects.get(pk=repository.pk)
            assert (changed.name, changed.due_at) == (f"renamed-{len(stored)}", due)
            assert deeds().last().text == "Changed Name."
            Repository.objects.filter(pk=repository.pk).update(name=repository.name)
    console.post(page_of(ssh), form(name="ssh", url=ssh.url, known_hosts=hosts.replace("AAAA", "CCCC")))
    assert Repository.objects.get(pk=ssh.pk).due_at < due


@pytest.mark.parametrize(("values", "username"), [({}, "acme"), ({"username": "mary"}, "mary")])
def test_a_user_name_in_the_url_becomes_the_credentials(console: Client, values: dict[str, str], username: str) -> None:
    console.post(ADD, form(url="https://acme@dev.azure.com/acme/web/_git/web ", new_token="t", **values))

    repository = Repository.objects.get()
    assert (repository.url, repository.username, repository.name) == (
        "https://dev.azure.com/acme/web/_git/web",
        username,
        "web/web",
    )


@pytest.mark.parametrize(
    ("stored", "typed", "username"), [("", "", "acme"), ("old", "old", "acme"), ("old", "mary", "mary")]
)
def test_a_user_name_in_another_url_becomes_the_credentials(
    console: Client, stored: str, typed: str, username: str
) -> None:
    repository = RepositoryFactory(name="a", username=stored, token="t")
    console.post(page_of(repository), form(name="a", url="https://acme@dev.azure.com/a/_git/b", username=typed))
    assert Repository.objects.get().username == username


def test_a_user_name_in_the_url_of_a_public_repository_is_no_mistake(console: Client) -> None:
    console.post(ADD, form(name="a", url="https://mary@bitbucket.org/acme/web.git"))

    repository = Repository.objects.get()
    assert (repository.url, repository.username, repository.token) == (
        "https://bitbucket.org/acme/web.git",
        "mary",
        None,
    )
    console.post(page_of(repository), form(name="b", url=repository.url, username="mary"))
    assert Repository.objects.get().name == "b"


def test_a_ca_certificate_is_kept_and_shown_and_a_new_one_polls_afresh(console: Client, tmp_path: Path) -> None:
    due = timezone.now() + timedelta(hours=1)
    repository = RepositoryFactory(name="a", url="https://git.example.com/owner/repo.git", due_at=due)
    certificate = Authority(tmp_path).file.read_text()

    console.post(page_of(repository), form(name="a", ca_certificate=certificate))

    changed = Repository.objects.get()
    assert changed.ca_certificate == changed.remote.ca_certificate == certificate.strip()
    assert changed.due_at < due
    assert "BEGIN CERTIFICATE" in console.get(page_of(changed)).text
    Repository.objects.update(due_at=due)
    console.post(page_of(repository), form(name="b", ca_certificate=certificate))
    assert Repository.objects.get().due_at == due


def test_a_blank_token_keeps_the_stored_one_and_a_tick_removes_it(console: Client) -> None:
    repository = RepositoryFactory(token="kept", username="me")

    console.post(page_of(repository), form(name="a", username="me"))
    assert Repository.objects.get().token.reveal() == "kept"
    console.post(page_of(repository), form(name="a", remove_token="on"))
    assert Repository.objects.get().token is None


@pytest.mark.parametrize("change", [{"url": "https://new.example.com/a/b"}, {"branch": "next"}, {"new_token": "t"}])
def test_another_remote_is_polled_now_with_a_clean_slate(change: dict[str, str], console: Client) -> None:
    repository = RepositoryFactory(
        name="a",
        url="https://git.example.com/owner/repo.git",
        due_at=timezone.now() + timedelta(hours=1),
        failure_streak=7,
        error_kind="git_auth",
        last_error="refused",
        circuit_until=timezone.now() + timedelta(hours=1),
    )

    console.post(page_of(repository), form(name="a", **change))

    changed = Repository.objects.get()
    assert changed.due_at <= timezone.now()
    assert (changed.failure_streak, changed.circuit_until, changed.error_kind) == (0, None, "")


def test_another_name_leaves_the_poll_alone(console: Client) -> None:
    due = timezone.now() + timedelta(hours=1)
    repository = RepositoryFactory(url="https://git.example.com/owner/repo.git", due_at=due, failure_streak=2)

    console.post(page_of(repository), form(name="new-name"))

    changed = Repository.objects.get()
    assert (changed.name, changed.due_at, changed.failure_streak) == ("new-name", due, 2)
