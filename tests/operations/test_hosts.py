"""One cause is an error kind at one host: the endpoint's, or the remote's where git failed."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from syncsvc.models import App, Operation, Repository, Subscription
from syncsvc.models.hosts import cause_host, host_of
from syncsvc.operations import bulk
from syncsvc.operations.preview import preview
from syncsvc.operations.scope import Scope
from syncsvc.types import ErrorKind
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.operations.fleet import ASKER

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Hooks.Acme.example/in", "hooks.acme.example"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://[::1]:9000/in?a=b", "[::1]:9000"),
        ("https://me:pa@ss@hooks.example/a@b", "hooks.example"),
        ("ssh://git@git.example.com:2222/owner/repo.git", "git.example.com:2222"),
        ("git@github.com:owner/repo.git", "github.com"),
        ("/srv/git/owner/repo.git", ""),
        ("file:///srv/git/owner/repo.git", ""),
    ],
)
def test_the_host_of_a_url_is_found_in_sql(url: str, host: str) -> None:
    RepositoryFactory(url=url)

    assert Repository.objects.values_list(host_of("url"), flat=True).get() == host


def failing(kind: ErrorKind, endpoint: str, remote: str) -> Subscription:
    app = App.objects.filter(url=endpoint).first() or AppFactory(url=endpoint)
    repository = RepositoryFactory(url=remote)
    subscription: Subscription = SubscriptionFactory(app=app, repository=repository, failed=True, error_kind=kind)
    return subscription


def test_a_scope_takes_one_cause_and_no_other(db: None) -> None:
    timeout, auth = ErrorKind.ENDPOINT_TIMEOUT, ErrorKind.GIT_AUTH
    first = failing(timeout, "https://a.example/hook", "https://git.example/x")
    failing(timeout, "https://b.example/hook", "https://git.example/y")
    failing(ErrorKind.ENDPOINT_ERROR, "https://a.example/hook", "https://git.example/z")
    git = failing(auth, "https://b.example/hook", "https://git.example/v")
    assert set(Subscription.objects.values_list(cause_host(), flat=True)) == {"a.example", "b.example", "git.example"}

    scope = Scope(kind=Operation.Kind.RETRY, error_kind=timeout, host="a.example")
    operation = bulk.start(scope, ASKER, digest=preview(scope).digest)

    assert list(scope.qualifying()) == [first]
    assert (operation.total, operation.scope) == (
        1,
        {"kind": "retry", "error_kind": "endpoint_timeout", "host": "a.example"},
    )
    assert operation.scope_text == "all failed subscriptions with endpoint_timeout at a.example"
    assert Scope.from_data(operation.scope) == scope
    assert list(Scope(kind=Operation.Kind.RETRY, error_kind=auth, host="git.example").qualifying()) == [git]


def test_a_blank_host_is_one_without_and_not_any(db: None) -> None:
    local = failing(ErrorKind.GIT_NOT_FOUND, "https://a.example/hook", "/srv/git/repo.git")
    failing(ErrorKind.GIT_NOT_FOUND, "https://a.example/hook", "https://git.example/x")
    scope = Scope(kind=Operation.Kind.RETRY, host="")

    assert list(Scope.from_data(scope.data).qualifying()) == [local]
    assert scope.words() == "all failed subscriptions at a local path"


def test_a_command_names_the_host(db: None) -> None:
    failing(ErrorKind.ENDPOINT_TIMEOUT, "https://a.example/hook", "https://git.example/x")
    failing(ErrorKind.ENDPOINT_TIMEOUT, "https://b.example/hook", "https://git.example/y")
    out = StringIO()

    call_command("retry", "--host", "A.example", "--dry-run", "--json", stdout=out)

    assert json.loads(out.getvalue())["total"] == 1
