"""app_test: what it sends, says and changes."""

from collections.abc import Iterator

import pytest

from syncsvc.models import App
from tests.factories import AppFactory
from tests.management.conftest import Run
from tests.outages import open_circuit, throttle
from tests.receiver import Receiver
from tests.sync.answers import always

BODY = b"this body is nobody's"


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with Receiver(lambda headers, body: (200, {}, BODY, 0.0)) as receiver:
        yield receiver


def test_a_good_answer_has_its_status_and_time_and_ends_what_stood_in_the_way(run: Run, endpoint: Receiver) -> None:
    app = AppFactory.create(name="client", url=endpoint.url)
    open_circuit(app.pk)
    throttle(app.pk)

    done = run("app_test", "client", "--json")

    milliseconds = done.json["milliseconds"]
    assert (done.code, type(milliseconds)) == (0, int)
    assert done.json == {
        "app": "client",
        "succeeded": True,
        "status": 200,
        "milliseconds": milliseconds,
        "error_kind": None,
        "error": None,
        "closed_circuit": True,
        "ended_throttle": True,
    }
    assert BODY.decode() not in done.out + done.err
    assert App.objects.values_list("circuit_until", "throttled_until").get() == (None, None)
    assert len(endpoint.requests) == 1
    again = run("app_test", str(app.pk))
    assert again.out.startswith("client answered 200 in ")
    assert BODY.decode() not in again.out


def test_a_bad_answer_is_exit_code_1_and_its_kind(run: Run, endpoint: Receiver) -> None:
    AppFactory.create(name="client", url=endpoint.url)
    endpoint.answer = always(503)

    done = run("app_test", "client", "--json")

    assert done.code == 1
    assert (done.json["succeeded"], done.json["status"]) == (False, 503)
    assert (done.json["error_kind"], done.json["closed_circuit"]) == ("endpoint_throttled", False)
    in_words = run("app_test", "client")
    assert in_words.code == 1
    assert "endpoint_throttled" in in_words.out


def test_no_answer_has_no_status(run: Run) -> None:
    AppFactory.create(name="client", url="http://127.0.0.1:9/hook")
    done = run("app_test", "client", "--json")
    assert (done.code, done.json["status"], done.json["error_kind"]) == (1, None, "endpoint_unreachable")


def test_an_app_that_is_not_there_is_said(run: Run) -> None:
    assert run("app_test", "nobody", "--json").refusal == "not_found"
