"""What another endpoint, another remote or another credential makes due, and what it leaves alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncsvc.models import App, Repository, Subscription
from syncsvc.operations.apps import save_app
from syncsvc.operations.repositories import REMOTE, credential_problems, save_repository
from tests import factories
from tests.operations.fleet import ASKER
from tests.operations.test_pausing import is_due, waits
from tests.outages import open_circuit

pytestmark = pytest.mark.django_db

LATER = timedelta(hours=1)


def test_another_url_closes_the_circuit_and_makes_due_what_failed_at_the_old_one() -> None:
    app = factories.AppFactory()
    open_circuit(app.pk)
    kinds = ("endpoint_rejected", "endpoint_gone", "endpoint_circuit_open", "endpoint_timeout")
    there = [waits(app, kind) for kind in kinds]
    retrying = waits(app, "endpoint_error", status="pending", retry_count=3)
    rest = [waits(app, "git_auth"), waits(app, "mass_delete_held"), waits(factories.AppFactory(), "endpoint_error")]

    app.url = "https://new.example.com/hook"
    save_app(app, ASKER, changed={"url"})

    app.refresh_from_db()
    assert (app.url, app.circuit_opened_at, app.failure_streak) == ("https://new.example.com/hook", None, 0)
    assert all(is_due(row) for row in (*there, retrying))
    assert not any(is_due(row) for row in rest)
    assert Subscription.objects.get(pk=retrying.pk).retry_count == 3


def test_only_what_was_changed_is_written() -> None:
    app = factories.AppFactory(is_active=False, pause_reason="It answered 410.")
    row = waits(app, "endpoint_rejected")
    open_circuit(app.pk)

    app.max_batch, app.url = 7, "https://typed.example.com/"
    save_app(app, ASKER, changed={"max_batch"})

    changed = App.objects.get()
    assert (changed.max_batch, changed.pause_reason, changed.failure_streak) == (7, "It answered 410.", 5)
    assert changed.url != app.url
    assert not is_due(row)


def test_a_form_that_resumes_an_app_resumes_it_as_the_button_does() -> None:
    app = factories.AppFactory(is_active=False, pause_reason="It answered 410.")
    gone = waits(app, "endpoint_gone")

    app.is_active = True
    save_app(app, ASKER, changed={"is_active"})

    changed = App.objects.get()
    assert (changed.is_active, changed.pause_reason) == (True, "")
    assert is_due(gone)


@pytest.mark.parametrize("column", sorted(REMOTE))
def test_another_remote_is_asked_now_and_what_git_failed_for_is_due(column: str) -> None:
    now = timezone.now()
    failing: dict[str, Any] = {"failure_streak": 7, "error_kind": "git_auth", "circuit_until": now + LATER}
    failing |= {"circuit_openings": 4, "unfetchable_commit": "1" * 40, "fetch_failures": 3, "fetch_until": now + LATER}
    repository = factories.RepositoryFactory(due_at=now + LATER, **failing)
    there = waits(factories.AppFactory(), "git_auth", repository=repository)
    rest = waits(factories.AppFactory(), "endpoint_error", repository=repository)

    setattr(repository, column, "https://new.example.com/a/b" if column == "url" else "other")
    save_repository(repository, ASKER, changed={column})

    changed = Repository.objects.get(pk=repository.pk)
    assert changed.due_at <= timezone.now()
    assert (changed.failure_streak, changed.circuit_until, changed.error_kind) == (0, None, "")
    assert (changed.circuit_openings, changed.fetch_failures, changed.fetch_until) == (0, 0, None)
    assert changed.unfetchable_commit == "", "the other remote may have it"
    assert is_due(there)
    assert not is_due(rest)


def test_another_name_leaves_the_poll_and_its_failures_alone() -> None:
    due = timezone.now() + LATER
    repository = factories.RepositoryFactory(due_at=due, failure_streak=2)
    row = waits(factories.AppFactory(), "git_auth", repository=repository)
    repository.name, repository.poll_seconds = "other", 5
    save_repository(repository, ASKER, changed={"name", "poll_seconds"})
    changed = Repository.objects.get(pk=repository.pk)
    assert (changed.name, changed.poll_seconds, changed.due_at, changed.failure_streak) == ("other", 5, due, 2)
    assert not is_due(row)


HTTPS, SSH, GIT = "https://git.example.com/a/b", "git@git.example.com:a/b", "git://git.example.com/a/b"


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"url": HTTPS}, set()),
        ({"url": HTTPS, "token": "t"}, set()),
        ({"url": HTTPS, "token": "t", "username": "me"}, set()),
        ({"url": SSH, "ssh_key": "k", "known_hosts": "h"}, set()),
        ({"url": "/srv/repo"}, set()),
        ({"url": SSH}, {"ssh_key"}),
        ({"url": SSH, "token": "t"}, {"token"}),
        ({"url": SSH, "ssh_key": "k", "known_hosts": " "}, {"known_hosts"}),
        ({"url": HTTPS, "ssh_key": "k", "known_hosts": "h"}, {"ssh_key"}),
        ({"url": HTTPS, "token": "t", "ssh_key": "k", "known_hosts": "h"}, {"token"}),
        ({"url": GIT, "token": "t"}, {"token"}),
        ({"url": HTTPS, "username": "me"}, {"username"}),
    ],
)
def test_a_credential_must_fit_its_url(values: dict[str, str], wrong: set[str]) -> None:
    assert set(credential_problems(Repository(**values))) == wrong
