"""*Send test*: one signed `ping` that an operator sends to an app's endpoint, and what a good answer ends."""

import uuid
from dataclasses import dataclass

from syncsvc.delivery.answers import Answer
from syncsvc.models import App
from syncsvc.operations.apps import no_app
from syncsvc.operations.asker import Asker
from syncsvc.store import circuits, throttles
from syncsvc.store.clock import database_time
from syncsvc.sync.circuit import circuit_has_closed
from syncsvc.sync.ping import send_ping
from syncsvc.sync.throttle import throttle_has_ended
from syncsvc.words import counted, plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The endpoint's answer, and what it ended: an open circuit, a wait that the endpoint had asked for.

    `made_due` is the number of subscriptions that had failed at the endpoint, or waited for it, and are due now.
    """

    answer: Answer[None]
    closed_circuit: bool = False
    ended_throttle: bool = False
    made_due: int = 0

    @property
    def succeeded(self) -> bool:
        return self.answer.error_kind is None

    @property
    def milliseconds(self) -> int:
        return round(self.answer.seconds * 1000)


def send_test(app_id: uuid.UUID, asker: Asker) -> Tested:
    """Sends a `ping` at once, also to an endpoint that is left alone.

    A good answer closes an open circuit and ends a throttle: subscriptions that wait for that, or that failed because
    the endpoint was down, are due within seconds. A bad one changes nothing, and counts for nothing. Refused:
    `not_found`.
    """
    app = App.objects.filter(id=app_id).first()
    if app is None:
        raise no_app(app_id)
    at = database_time()
    answer = send_ping(app, at)
    tested = Tested(answer=answer)
    # The answer of another URL says nothing about the URL that the app has by now.
    if tested.succeeded and App.objects.filter(id=app_id, url=app.url).exists():
        closed, ended = circuits.endpoint_answered(app_id), throttles.end_throttle(app_id, sent_at=at)
        # Few failed messages open no circuit, but their runs are in their back-off.
        made_due = circuit_has_closed(app_id)
        if ended:
            throttle_has_ended(app_id)
        tested = Tested(answer=answer, closed_circuit=closed, ended_throttle=ended, made_due=made_due)
    asker.log(app, _logged(tested))
    return tested


def effect_text(tested: Tested) -> str:
    """The effect of a good answer, in a sentence; blank where it had none."""
    effects = [
        *(["closed the circuit"] if tested.closed_circuit else []),
        *(["ended the wait that the endpoint had asked for"] if tested.ended_throttle else []),
    ]
    if effects:
        return f"This {' and '.join(effects)}: what waited for it is sent within seconds."
    due = counted(tested.made_due, "subscription")
    return f"{due} that had failed there {plural(tested.made_due, 'is', 'are')} tried now." if tested.made_due else ""


def _logged(tested: Tested) -> str:
    said = tested.answer.status if tested.answer.status is not None else tested.answer.error_kind
    return f"Sent a test: {said} in {tested.milliseconds} ms. {effect_text(tested)}".rstrip()
