"""Pausing and resuming in the lists, after the confirmation."""

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from syncsvc.models import App, Subscription
from tests import factories
from tests.factories import deeds

pytestmark = pytest.mark.django_db

HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
HTMX = {"HX-Request": "true"}


def list_of(model: type[Any]) -> str:
    return reverse(f"admin:syncsvc_{model._meta.model_name}_changelist")


def fields_of(page: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in HIDDEN.findall(page[page.index('class="question"') :]):
        found.setdefault(name, []).append(unescape(value))
    return found


def toast(response: Any) -> str:
    return str(json.loads(response.headers["HX-Trigger"])["toast"]["toasts"][0]["text"])


def test_subscriptions_are_paused_and_resumed_after_the_confirmation(console: Client) -> None:
    rows = factories.SubscriptionFactory.create_batch(2)
    paused = factories.SubscriptionFactory(is_active=False)
    ticked = {"_selected_action": [row.pk for row in (*rows, paused)]}

    page = console.post(list_of(Subscription), {"action": "pause_selected", **ticked}).text
    assert "Pause 2 subscriptions?" in page
    assert Subscription.objects.filter(is_active=True).count() == 2
    answer = console.post(list_of(Subscription), fields_of(page))
    assert answer.headers["Location"] == list_of(Subscription)
    assert not Subscription.objects.filter(is_active=True).exists()
    assert {entry.text for entry in deeds().all()} == {"Paused."}
    assert deeds().count() == 2

    dialog = console.post(list_of(Subscription), {"action": "resume_selected", **ticked}, headers=HTMX)
    assert "Resume 3 subscriptions?" in dialog.text
    assert toast(console.post(list_of(Subscription), fields_of(dialog.text), headers=HTMX)) == (
        "Resumed 3 subscriptions"
    )


def test_all_that_a_filter_leaves_is_paused_and_never_more_than_was_shown(console: Client) -> None:
    app = factories.AppFactory()
    factories.SubscriptionFactory.create_batch(60, app=app)
    other = factories.SubscriptionFactory()
    url = f"{list_of(Subscription)}?app__exact={app.pk}"
    across = {"action": "pause_selected", "select_across": "1", "_selected_action": ["all"]}
    fields = fields_of(console.post(url, across, headers=HTMX).text)
    assert fields["_selected_action"] == ["all"]
    joined = factories.SubscriptionFactory(app=app)

    refused = console.post(url, fields, headers=HTMX).text
    assert "Failed to pause: It would be 61 by now, where 60 were shown." in refused
    assert Subscription.objects.filter(is_active=False).count() == 0

    Subscription.objects.filter(pk=joined.pk).update(is_active=False)
    Subscription.objects.filter(app=app, is_active=True).first().delete()  # type: ignore[union-attr]
    answer = console.post(url, fields, headers=HTMX)
    assert toast(answer) == "Paused 59 subscriptions; 1 of those that were shown no longer qualify"
    assert list(Subscription.objects.filter(is_active=True)) == [other]


def test_apps_that_are_resumed_forget_why_they_were_paused(console: Client) -> None:
    app = factories.AppFactory(is_active=False, pause_reason="It answered 410.")
    ticked = {"action": "resume_selected", "_selected_action": [app.pk]}
    dialog = console.post(list_of(App), ticked, headers=HTMX)
    assert "Resume 1 app?" in dialog.text
    answer = console.post(list_of(App), fields_of(dialog.text), headers=HTMX)
    assert answer.headers["HX-Redirect"] == list_of(App)
    app.refresh_from_db()
    assert (app.is_active, app.pause_reason) == (True, "")
    assert "active already" in console.post(list_of(App), ticked, follow=True).text


def test_a_confirmation_is_of_one_thing_only(console: Client) -> None:
    row = factories.SubscriptionFactory()
    ticked = {"action": "pause_selected", "_selected_action": [row.pk]}
    fields = fields_of(console.post(list_of(Subscription), ticked, headers=HTMX).text)
    app = {"action": "pause_selected", "_selected_action": [row.app_id]}
    for digest in (fields["digest"], "forged"):
        assert "Failed to pause" in console.post(list_of(App), {**app, "digest": digest}, headers=HTMX).text
    assert App.objects.get().is_active


def test_who_may_not_change_rows_is_not_offered_it(staff: Callable[..., Client]) -> None:
    row = factories.SubscriptionFactory()
    client = staff("view_subscription")
    assert 'value="pause_selected"' not in client.get(list_of(Subscription)).text
    client.post(list_of(Subscription), {"action": "pause_selected", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.is_active
