"""A repository's page: where its remote stands, how far each app is, a check that is asked for, and re-syncs."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from syncsvc.admin import kept
from syncsvc.models import Operation, RemoteHost, Repository, Subscription
from syncsvc.store.repository_circuits import count_failure
from syncsvc.sync.poll import poll_repository
from syncsvc.sync.remote_circuits import remote_circuit_policy
from tests import factories
from tests.admin.test_operations import fields_of
from tests.gitrepo import GitRepo

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def page_of(repository: Repository) -> str:
    return reverse("admin:syncsvc_repository_change", args=[repository.pk])


def button(repository: Repository, press: str) -> str:
    return reverse(f"admin:syncsvc_repository_{press}", args=[repository.pk])


@pytest.fixture
def followed() -> Repository:
    """owner/repo, followed by acme, which has its head, and by late, which is one commit behind."""
    repository: Repository = factories.RepositoryFactory(name="owner/repo", checked_at=timezone.now())
    old = factories.SnapshotFactory(repository=repository, files=100)
    new = factories.SnapshotFactory(repository=repository, files=104, created=5, updated=7, deleted=1, previous=old)
    repository.head_commit, repository.head_branch = new.commit, "main"
    repository.save()
    factories.SubscriptionFactory(app__name="acme", repository=repository, synced=True, snapshot=new)
    factories.SubscriptionFactory(app__name="late", repository=repository, snapshot=old, clean_epoch=1)
    return repository


def test_the_page_shows_the_head_the_snapshots_and_how_far_each_app_is(followed: Repository, console: Client) -> None:
    page = console.get(page_of(followed)).text

    assert followed.head_commit[:12] in page
    assert "1 of 2 apps has everything" in page
    assert '<td class="number">5</td><td class="number">7</td><td class="number">1</td>' in page
    (late,) = [row for row in page.split("<tr>") if ">late</a>" in row]
    assert "1 commit behind" in late
    assert 'data-label="Pending files">13</td>' in late


def test_a_failing_remote_says_why_and_since_when(console: Client) -> None:
    repository = factories.RepositoryFactory()
    for _ in range(3):
        error = "The remote refuses the token."
        count_failure(repository.pk, kind="git_auth", error=error, policy=remote_circuit_policy())

    page = console.get(page_of(repository)).text

    assert "git_auth" in page
    assert "The remote refuses the token." in page
    assert "3 times in a row" in page


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"circuit_until": True, "failing_since": True, "last_error": "Connection refused."}, "Connection refused."),
        ({"quiet_until": True}, "asked to be left alone"),
    ],
)
def test_a_host_that_is_left_alone_is_said_on_the_pages_of_its_repositories(
    console: Client, values: dict[str, Any], told: str
) -> None:
    now = timezone.now()
    in_a_minute = now + timedelta(minutes=1)
    head = {"head_branch": "main", "head_commit": "1" * 40}
    repository = factories.RepositoryFactory(url="https://git.example.com/a/b", checked_at=now, **head)
    assert "Healthy" in console.get(page_of(repository)).text
    kept.forget(f"repository:{repository.pk}")
    RemoteHost.objects.create(
        name="git.example.com", **{name: in_a_minute if value is True else value for name, value in values.items()}
    )

    page = console.get(page_of(repository)).text

    assert "Host left alone" in page
    assert told in page
    assert not re.search(r"until <time[^>]*>in ", page), "a time, and not a distance from now"
    assert "Healthy" not in page


def test_a_commit_that_cannot_be_fetched_is_said_of_a_remote_that_answers(console: Client) -> None:
    repository = factories.RepositoryFactory(
        checked_at=timezone.now(),
        error_kind="git_corrupt",
        last_error="Objects are missing there.",
        unfetchable_commit="c" * 40,
        fetch_failures=3,
    )
    page = console.get(page_of(repository)).text
    assert "Not fetched" in page
    assert "Not reached" not in page
    assert "could not be fetched 3 times in a row" in page


def test_a_check_is_asked_for_and_the_page_follows_it(console: Client, tmp_path: object) -> None:
    remote = GitRepo(tmp_path / "remote.git")  # type: ignore[operator]
    commit = remote.commit({"a": b"1"})
    later = timezone.now() + timedelta(hours=1)
    repository = factories.RepositoryFactory(url=remote.url, due_at=later, checked_at=timezone.now())
    part = f"{page_of(repository)}?part=remote&v="
    before = console.get(page_of(repository)).context
    assert not before["moves"]

    answer = console.post(button(repository, "check_now"), headers=HTMX)

    assert f"Check asked for: {repository}" in answer.headers["HX-Trigger"]
    asked = console.get(part + before["version"], headers=HTMX)
    assert "Asked for" in asked.text
    assert 'data-every="2"' in asked.text
    assert poll_repository(repository.pk)
    found = console.get(part + before["version"], headers=HTMX)
    assert commit[:12] in found.text
    assert "moved" in found.headers["HX-Trigger"]


def test_a_check_that_runs_already_is_not_asked_for_twice(console: Client) -> None:
    in_a_minute = timezone.now() + timedelta(minutes=1)
    running = factories.RepositoryFactory(lease_expires_at=in_a_minute, due_at=in_a_minute)
    assert "running already" in console.post(button(running, "check_now"), headers=HTMX).headers["HX-Trigger"]
    assert "Checking" in console.get(page_of(running)).text

    paused = factories.RepositoryFactory(is_active=False)
    assert "is paused" in console.post(button(paused, "check_now"), headers=HTMX).headers["HX-Trigger"]
    assert button(paused, "check_now") not in console.get(page_of(paused)).text
    assert not Repository.objects.filter(queued_at__isnull=False).exists()


def test_one_app_is_chosen_and_re_synced(followed: Repository, console: Client) -> None:
    late = Subscription.objects.get(app__name="late")
    choice = console.get(button(followed, "resync_for"), headers=HTMX).text
    assert f'value="{late.pk}"' in choice
    chosen = f"{button(followed, 'resync_for')}?subscription={late.pk}"

    question = console.get(chosen, headers=HTMX).text
    assert "Re-sync owner/repo for late?" in question
    assert "This sends about 104 files" in question
    Subscription.objects.filter(pk=late.pk).update(queued_at=None)
    answer = console.post(chosen, headers=HTMX)

    assert "Re-sync queued for owner/repo" in answer.headers["HX-Trigger"]
    assert dict(Subscription.objects.values_list("app__name", "epoch")) == {"acme": 1, "late": 2}


def test_several_apps_are_chosen_and_re_synced_as_an_operation(followed: Repository, console: Client) -> None:
    factories.SubscriptionFactory(repository=followed, synced=True)
    stranger = factories.SubscriptionFactory(synced=True)
    ids = [*followed.subscriptions.filter(app__name__in=("acme", "late")).values_list("pk", flat=True), stranger.pk]
    chosen = f"{button(followed, 'resync_for')}?{'&'.join(f'subscription={id}' for id in ids)}"

    question = console.get(chosen).text
    assert "Re-sync 2 subscriptions?" in question
    console.post(chosen, fields_of(question))

    operation = Operation.objects.get()
    assert (operation.total, operation.kind) == (2, "resync")


def test_nothing_chosen_is_asked_again_and_nothing_to_choose_is_said(console: Client) -> None:
    lonely = factories.RepositoryFactory()
    answer = console.get(button(lonely, "resync_for"), headers=HTMX)
    assert "no app that is not paused follows it" in answer.headers["HX-Trigger"]
    assert "no app was chosen" in console.post(button(lonely, "resync_for"), headers=HTMX).headers["HX-Trigger"]


@pytest.mark.parametrize("rows", [1, 25])
def test_the_page_needs_as_many_queries_for_one_app_as_for_many(
    rows: int, console: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    repository = factories.RepositoryFactory()
    factories.SubscriptionFactory.create_batch(rows, repository=repository, failed=True)
    console.get(page_of(repository))
    # The user, the repository, its snapshots, its operations, its subscriptions, how far they are.
    with django_assert_num_queries(6):
        assert len(console.get(page_of(repository)).context["rows"]) == rows


def test_the_polled_part_costs_two_queries(
    followed: Repository, staff: Callable[..., Client], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = staff("view_repository")
    part = f"{page_of(followed)}?part=remote"
    client.get(part, headers=HTMX)
    with django_assert_num_queries(2):
        still = client.get(part, headers=HTMX)
    kept.forget(f"repository:{followed.pk}")
    with django_assert_num_queries(2):  # also where nothing is kept
        assert client.get(part, headers=HTMX).text == still.text


def test_a_repository_is_paused_and_resumed(followed: Repository, console: Client) -> None:
    question = console.get(button(followed, "pause"), headers=HTMX).text
    assert "owner/repo is not polled, and nothing of it is sent, until it is resumed: 2 apps." in question
    console.post(button(followed, "pause"), headers=HTMX)
    assert not Repository.objects.get().is_active
    assert "It is not polled" in console.get(page_of(followed)).text
    console.post(button(followed, "resume"), headers=HTMX)
    assert Repository.objects.get().is_active


# (button, what it needs beside the permission to see repositories)
PERMISSIONS = [
    ("check_now", "change_repository"),
    ("pause", "change_repository"),
    ("resync_for", "bulk_resync"),
    ("resync_all", "bulk_resync"),
    ("retry_failed", "bulk_retry"),
]


@pytest.mark.parametrize(("press", "permission"), PERMISSIONS)
def test_each_button_needs_its_permission(
    press: str, permission: str, followed: Repository, staff: Callable[..., Client]
) -> None:
    looker, presser = staff("view_repository"), staff("view_repository", permission)

    assert looker.post(button(followed, press)).status_code == 403
    assert button(followed, press) not in looker.get(page_of(followed)).text
    assert button(followed, press) in presser.get(page_of(followed)).text
    assert presser.post(button(followed, press)).status_code in (200, 302)


def test_re_syncing_one_needs_the_permission_for_one(followed: Repository, staff: Callable[..., Client]) -> None:
    one = followed.subscriptions.first()
    assert one is not None
    chosen = f"{button(followed, 'resync_for')}?subscription={one.pk}"
    assert staff("view_repository", "bulk_resync").post(chosen).status_code == 403


def test_apps_and_snapshots_are_for_those_who_may_see_them(followed: Repository, staff: Callable[..., Client]) -> None:
    page = staff("view_repository").get(page_of(followed)).text
    assert ">late</a>" not in page
    assert "Taken in" not in page
