"""The page of an attempt: the request, its answer, and the file that can be sent again."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from syncsvc.models import DeliveryAttempt
from tests.admin.labels import label
from tests.factories import DeliveredFileFactory, DeliveryAttemptFactory
from tests.sync.answers import refuses
from tests.sync.conftest import world
from tests.sync.world import World

__all__ = ["world"]
pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def page(attempt: DeliveryAttempt, press: str = "change") -> str:
    return f"/admin/syncsvc/deliveryattempt/{attempt.pk}/{press}/"


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode()))


def test_a_request_is_told_whole_with_its_answer_and_its_file(console: Client) -> None:
    attempt = DeliveryAttemptFactory(rejected=True, path=b"docs/a.md", answer=b"<script>no</script>")
    file = DeliveredFileFactory(subscription=attempt.subscription, path=b"docs/a.md", in_doubt=True)

    response = console.get(page(attempt))

    shown = text(response)
    assert f"422 {label('endpoint_rejected')} endpoint_rejected" in shown
    assert "The endpoint answered 422 Unprocessable Entity." in shown
    assert attempt.webhook_id in shown
    assert attempt.subscription.app.url in shown
    assert "in doubt" in shown
    whole = response.content.decode()
    assert "&lt;script&gt;no&lt;/script&gt;" in whole
    for address in (
        f"/admin/syncsvc/syncrun/{attempt.run_id}/change/",
        f"/admin/syncsvc/subscription/{attempt.subscription_id}/change/",
        f"/admin/syncsvc/deliveredfile/{file.pk}/change/",
    ):
        assert f'href="{address}"' in whole
    assert "Send this file again" in shown
    assert (
        f"/admin/syncsvc/deliveryattempt/{attempt.pk}/change/"
        in console.get(
            f"/admin/syncsvc/deliveryattempt/?subscription__exact={attempt.subscription_id}&q=docs/a.md"
        ).content.decode()
    )
    assert "q=docs%2Fa.md" in console.get(f"/admin/syncsvc/deliveredfile/{file.pk}/change/").content.decode()


def test_no_answer_and_an_empty_one_are_told_apart(console: Client) -> None:
    none = DeliveryAttemptFactory(status=None, error_kind="endpoint_timeout", error="No answer within 15 s.")
    assert "No answer came" in text(console.get(page(none)))
    assert "Without a body 204" in text(console.get(page(DeliveryAttemptFactory())))


def test_what_is_about_no_file_cannot_be_sent_again(console: Client) -> None:
    batch = DeliveryAttemptFactory(kind="batch", path=None, files=50)

    assert "Send this file again" not in text(console.get(page(batch)))
    answer = console.post(page(batch, "send_again"), headers=HTMX)
    assert "the request was not about one file" in answer.headers["HX-Trigger"]


def test_the_file_is_sent_again_as_it_is_now(console: Client, world: World) -> None:
    world.repo.commit({"a.md": b"1", "b.md": b"1"})
    world.receiver.answer = refuses("b.md")
    world.run()
    attempt = DeliveryAttempt.objects.get(path=b"a.md")
    world.receiver.answer = lambda headers, body: (204, {}, b"", 0.0)
    world.run()
    before = len(world.receiver.requests)
    world.repo.commit({"a.md": b"newer"})

    answer = console.post(page(attempt, "send_again"))

    assert answer.status_code == 302
    assert "to be sent again" in text(console.get(page(attempt)))
    world.run_when_due()
    assert [(e["type"], e["data"]["file"]["content"]) for e in world.events(before)] == [("file.created", "newer")]
    assert "acknowledged" in text(console.get(page(attempt), {"part": "place"}, headers=HTMX))


def test_each_needs_its_permission(staff: Callable[..., Client]) -> None:
    attempt = DeliveryAttemptFactory()
    viewer = staff("view_deliveryattempt")
    assert "Send this file again" not in text(viewer.get(page(attempt)))
    assert viewer.post(page(attempt, "send_again")).status_code == 403
    assert staff("view_app").get(page(attempt)).status_code == 403


def test_the_page_costs_a_handful_of_queries(console: Client) -> None:
    attempt = DeliveryAttemptFactory()
    console.get(page(attempt))
    with CaptureQueriesContext(connection) as whole:
        console.get(page(attempt))
    with CaptureQueriesContext(connection) as part:
        console.get(page(attempt), {"part": "place"}, headers=HTMX)

    assert (len(whole), len(part)) == (3, 3)


def test_the_names_of_an_apps_own_headers_are_shown(console: Client) -> None:
    with_headers = DeliveryAttemptFactory(header_names="Authorization, X-Key")
    assert "<code>Authorization, X-Key</code>" in console.get(page(with_headers)).text
    assert "beside the signature" not in text(console.get(page(DeliveryAttemptFactory())))
