"""A repository's page in a real browser: how far each app is, and one of them chosen to be sent everything again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from syncsvc.models import Repository, Subscription
from tests import factories
from tests.browser.looking import look

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def followed() -> Repository:
    """Four apps follow it, one of which is behind and one of which failed."""
    now = timezone.now()
    repository: Repository = factories.RepositoryFactory(
        name="owner/handbook", checked_at=now - timedelta(seconds=40), due_at=now + timedelta(seconds=20)
    )
    taken = [
        factories.SnapshotFactory(
            repository=repository,
            files=4_480 + n,
            bytes=31_000_000 + n * 9_000,
            created=n,
            updated=2 * n,
            deleted=n % 2,
        )
        for n in range(1, 13)
    ]
    repository.head_commit, repository.head_branch = taken[-1].commit, "main"
    repository.save()
    for name, snapshot, values in (
        ("acme", taken[-1], {"synced": True}),
        ("globex", taken[-1], {"synced": True}),
        ("initech", taken[-3], {"failed": True, "clean_epoch": 1}),
        ("umbrella", taken[-2], {"clean_epoch": 1}),
    ):
        factories.SubscriptionFactory(app__name=name, repository=repository, snapshot=snapshot, **values)
    return repository


def test_an_app_of_a_repository_is_chosen_and_re_synced(
    console: Page, followed: Repository, axe: Callable[[Page], None]
) -> None:
    console.goto(f"/admin/syncsvc/repository/{followed.pk}/change/")
    expect(console.locator("#remote")).to_contain_text("1 of 4 apps did not get everything")
    expect(console.locator("#rows")).to_contain_text("2 commits behind")
    look(console, "repository")
    axe(console)

    console.get_by_role("button", name="Re-sync for…").click()
    dialog = console.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_label("umbrella").check()
    look(console, "repository-choose")
    axe(console)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog).to_contain_text("Re-sync owner/handbook for umbrella?")
    expect(dialog).to_contain_text("This sends about 4,492 files")
    Subscription.objects.update(queued_at=None)
    dialog.get_by_role("button", name="Re-sync").click()

    expect(console.get_by_role("status")).to_have_text("Re-sync queued for owner/handbook")
    expect(console.locator("#rows tr", has_text="umbrella")).to_contain_text("all 4,492")
    console.emulate_media(color_scheme="dark", reduced_motion="reduce")
    look(console, "repository-dark")
    console.set_viewport_size({"width": 390, "height": 800})
    assert console.evaluate("document.documentElement.scrollWidth") <= 390
    look(console, "repository-phone")
