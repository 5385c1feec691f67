"""Send test: a good answer ends an outage for all, a bad one changes nothing."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from standardwebhooks import Webhook

from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, Status, Subscription
from syncsvc.models.subscription import OUTAGE_ENDED_SPREAD
from syncsvc.operations.asker import Asker
from syncsvc.operations.testing import effect_text, send_test
from tests.factories import AppFactory, SubscriptionFactory, UserFactory, deeds
from tests.operations.fleet import ASKER
from tests.outages import open_circuit, throttle
from tests.receiver import OK, Receiver, Reply

pytestmark = pytest.mark.django_db
LATER = timedelta(hours=1)


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def waiting(app: App, kind: str) -> Subscription:
    row: Subscription = SubscriptionFactory(app=app, due_at=timezone.now() + LATER, retry_count=1, error_kind=kind)
    return row


def due_soon(row: Subscription) -> bool:
    row.refresh_from_db()
    assert row.due_at is not None
    return row.due_at <= timezone.now() + timedelta(seconds=OUTAGE_ENDED_SPREAD)


def state(app: App) -> Any:
    columns = [field.attname for field in App._meta.concrete_fields if field.attname != "secret"]
    return App.objects.filter(pk=app.pk).values(*columns).get()


def test_a_good_answer_closes_the_circuit_and_makes_due_what_waited(endpoint: Receiver) -> None:
    app = AppFactory(url=endpoint.url)
    open_circuit(app.pk)
    rows = {kind: waiting(app, kind) for kind in ("endpoint_error", "endpoint_circuit_open", "endpoint_rejected")}
    elsewhere = waiting(AppFactory(), "endpoint_error")

    tested = send_test(app.pk, ASKER)

    assert (tested.succeeded, tested.closed_circuit, tested.ended_throttle) == (True, True, False)
    assert "closed the circuit" in effect_text(tested)
    (request,) = endpoint.requests
    assert Webhook(app.secret.reveal()).verify(request.body, request.headers)["type"] == "ping"
    app.refresh_from_db()
    assert (app.circuit_opened_at, app.failure_streak, app.failing_messages) == (None, 0, [])
    assert {kind: due_soon(row) for kind, row in rows.items()} == {
        "endpoint_error": True,
        "endpoint_circuit_open": True,
        "endpoint_rejected": False,
    }
    assert not due_soon(elsewhere)


def test_a_good_answer_ends_a_throttle_at_once(endpoint: Receiver) -> None:
    app = AppFactory(url=endpoint.url)
    throttle(app.pk, seconds=600)
    throttled, rejected = waiting(app, "endpoint_throttled"), waiting(app, "endpoint_rejected")
    due = SubscriptionFactory(app=app, trigger="poll", queued_at=timezone.now())  # a wake-up that found it throttled
    assert not Subscription.objects.due().exists()

    tested = send_test(app.pk, ASKER)

    assert (tested.succeeded, tested.closed_circuit, tested.ended_throttle) == (True, False, True)
    assert len(endpoint.requests) == 1
    assert (due_soon(throttled), due_soon(rejected)) == (True, False)
    assert Subscription.objects.due().get() == due
    app.refresh_from_db()
    assert (app.throttled_until, app.throttled_since, app.throttle_step) == (None, None, 0)


@pytest.mark.parametrize(
    "answer", [(500, {}, b"", 0.0), (429, {"Retry-After": "3600"}, b"", 0.0), (503, {}, b"", 0.0), (410, {}, b"", 0.0)]
)
@pytest.mark.parametrize("outage", [open_circuit, throttle, lambda id: None], ids=["circuit", "throttle", "well"])
def test_a_bad_answer_changes_nothing(outage: Callable[[uuid.UUID], None], answer: Reply, endpoint: Receiver) -> None:
    app = AppFactory(url=endpoint.url)
    outage(app.pk)
    before, row = state(app), waiting(app, "endpoint_error")
    endpoint.answer = lambda headers, body: answer

    tested = send_test(app.pk, ASKER)

    assert (tested.succeeded, tested.answer.status) == (False, answer[0])
    assert (tested.closed_circuit, tested.ended_throttle, effect_text(tested)) == (False, False, "")
    assert state(app) == before
    assert not due_soon(row)


def test_where_nothing_is_wrong_a_good_answer_ends_nothing(endpoint: Receiver) -> None:
    tested = send_test(AppFactory(url=endpoint.url).pk, ASKER)
    assert (tested.succeeded, tested.closed_circuit, tested.ended_throttle) == (True, False, False)


@pytest.mark.django_db(transaction=True)
def test_an_answer_of_the_url_before_ends_nothing_of_the_new_one(endpoint: Receiver) -> None:
    app = AppFactory(url=endpoint.url)

    def move(headers: dict[str, str], body: bytes) -> Reply:
        App.objects.update(url="https://new.example.com/")
        open_circuit(app.pk)
        throttle(app.pk)
        connection.close()
        return OK

    endpoint.answer = move

    tested = send_test(app.pk, ASKER)

    assert (tested.succeeded, tested.closed_circuit, tested.ended_throttle) == (True, False, False)
    app.refresh_from_db()
    assert app.circuit_opened_at is not None
    assert app.throttled_until is not None


def test_who_sent_it_and_what_came_of_it_is_in_the_log(endpoint: Receiver) -> None:
    endpoint.answer = lambda headers, body: (200, {}, b"a body that is nobody's", 0.0)
    app = AppFactory(url=endpoint.url)
    open_circuit(app.pk)

    send_test(app.pk, Asker(name="ann", source=Operation.Source.CONSOLE, user=UserFactory()))

    entry = deeds().get()
    assert "Sent a test: 200" in entry.text
    assert "closed the circuit" in entry.text
    assert "nobody" not in entry.text


def test_an_app_that_is_gone_is_not_found() -> None:
    with pytest.raises(Refused) as refusal:
        send_test(uuid.uuid4(), ASKER)
    assert refusal.value.kind == "not_found"


@pytest.mark.parametrize("outage", [open_circuit, throttle, lambda id: None], ids=["circuit", "throttle", "few failed"])
def test_what_the_outage_has_failed_does_not_wait_for_its_hourly_try(
    outage: Callable[[uuid.UUID], None], endpoint: Receiver
) -> None:
    """Also where so few messages failed that no circuit opened."""
    app = AppFactory(url=endpoint.url)
    outage(app.pk)
    kinds = ("endpoint_timeout", "endpoint_circuit_open", "endpoint_throttled", "endpoint_rejected", "git_unreachable")
    rows = {kind: waiting(app, kind) for kind in kinds}
    Subscription.objects.update(status=Status.FAILED)

    tested = send_test(app.pk, ASKER)

    assert {kind for kind, row in rows.items() if due_soon(row)} == set(kinds[:3])
    assert (tested.made_due, bool(effect_text(tested))) == (3, True)
