"""The API's page under the console's policy: no inline script, nothing from elsewhere."""

import pytest
from playwright.sync_api import Page, expect

from syncsvc.models import Operation
from tests.factories import SubscriptionFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_page_lists_the_entrances_and_tries_them_with_the_session(page: Page, admin_user: object) -> None:
    SubscriptionFactory(failed=True)
    page.goto("/admin/api/docs")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Log in").click()

    entrance = page.locator(".opblock", has_text="/admin/api/retry/all")
    entrance.locator(".opblock-summary").click()
    entrance.get_by_role("button", name="Try it out").click()
    entrance.locator("textarea").fill("{}")
    entrance.get_by_role("button", name="Execute").click()

    answer = entrance.locator(".live-responses-table")
    expect(answer).to_contain_text('"total_count": 1', timeout=20_000)
    assert Operation.objects.get().asked_by == "admin"
