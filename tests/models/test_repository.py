"""What is stored of a repository is what was checked, by whichever entrance it comes in."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from syncsvc.git.remote import HttpCredential
from syncsvc.models import App, Repository
from tests.factories import AppFactory, RepositoryFactory
from tests.keys import private_key

pytestmark = pytest.mark.django_db

URLS = [
    ("https://git.example/a/b ", "https://git.example/a/b"),
    ("\nhttps://git.example/a/b/\n", "https://git.example/a/b"),
    ("HTTPS://Git.Example/A/B", "https://git.example/A/B"),
    ("git@Git.Example:a/b/", "git@git.example:a/b"),
    ("https://mary@git.example/a/b", "https://git.example/a/b"),
]


def clean(row: Any) -> None:
    row.full_clean()


def save(row: Any) -> None:
    row.save()


def create_in_bulk(row: Any) -> None:
    type(row).objects.bulk_create([row])


@pytest.mark.parametrize("entrance", [clean, save, create_in_bulk])
@pytest.mark.parametrize(("given", "stored"), URLS)
def test_a_url_is_stored_in_the_form_that_was_checked(entrance: Any, given: str, stored: str) -> None:
    repository = Repository(name="a", url=given)
    entrance(repository)
    assert repository.url == stored
    if entrance is not clean:
        assert Repository.objects.get().url == stored


@pytest.mark.parametrize("entrance", [clean, save])
def test_the_user_in_a_url_goes_to_the_credential(entrance: Any) -> None:
    repository = Repository(name="a", url="https://acme@dev.azure.com/acme/web/_git/web", token="t0ken")
    entrance(repository)
    assert (repository.url, repository.username) == ("https://dev.azure.com/acme/web/_git/web", "acme")
    repository.save()
    assert Repository.objects.get().remote.credential == HttpCredential("acme", "t0ken")


def test_a_user_that_was_given_stays() -> None:
    repository = RepositoryFactory(url="https://acme@dev.azure.com/a/b", username="mary", token="t")
    assert Repository.objects.get().username == repository.username == "mary"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://mary:s3cret@git.example/a"),
        ("url", "ext::sh -c id"),
        ("ssh_key", "no key"),
        ("ca_certificate", "no certificate"),
        ("branch", "refs/heads/main"),
        ("branch", "a b"),
        ("branch", "line\nend"),
        ("branch", "a.lock"),
        ("branch", "n" * 251),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(field: str, value: str) -> None:
    repository = Repository(**{"name": "a", "url": "https://git.example/a/b", field: value})
    with pytest.raises(ValidationError) as caught:
        repository.full_clean()
    assert set(caught.value.error_dict) == {field}
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("branch", ["main", "HEAD", "feature/x", "été", "a@b", "n" * 250])
def test_a_branch_that_git_allows_can_be_followed(branch: str) -> None:
    Repository(name="a", url="https://git.example/a/b", branch=branch).full_clean()


def test_a_key_is_checked_and_sealed() -> None:
    repository = Repository(name="a", url="git@git.example:a/b", ssh_key=f"\r\n{private_key()}\r\n", known_hosts="h")
    repository.full_clean()
    repository.save()
    stored = Repository.objects.get().ssh_key
    assert stored is not None
    assert stored.reveal() == private_key()


def test_a_row_whose_url_is_allowed_no_more_can_still_be_saved(settings: Any) -> None:
    settings.GIT_ALLOW_LOCAL = True
    repository = RepositoryFactory(url="/srv/git/a")
    settings.GIT_ALLOW_LOCAL = False
    repository.name = "renamed"
    repository.save()
    assert Repository.objects.get().url == "/srv/git/a"


@pytest.mark.parametrize(
    ("branch", "head_branch", "head_commit", "shown"),
    [
        ("", "", "", ""),
        ("", "main", "1" * 40, "main"),
        ("next", "next", "1" * 40, "next"),
        ("next", "", "", "next"),
        ("", "", "1" * 40, "HEAD"),
        ("", "HEAD", "1" * 40, "HEAD"),
    ],
)
def test_the_branch_that_is_shown(branch: str, head_branch: str, head_commit: str, shown: str) -> None:
    assert Repository(branch=branch, head_branch=head_branch, head_commit=head_commit).shown_branch == shown


@pytest.mark.parametrize("entrance", [clean, save])
def test_an_apps_url_is_stored_as_it_was_checked_too(entrance: Any) -> None:
    app = App(name="acme", url=" https://client.example/hook\n")
    entrance(app)
    assert app.url == "https://client.example/hook"
    AppFactory(url="https://client.example/other ")
    assert not App.objects.filter(url__endswith=" ").exists()
