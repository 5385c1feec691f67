"""The button *Stop this run*: on the page of a subscription, and of the run itself."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button, ButtonsMixin, Confirmation, ask
from syncsvc.exceptions import Refused
from syncsvc.ids import uuid_of
from syncsvc.models import Subscription, SyncRun
from syncsvc.operations import stopping

STOP = Button(
    "stop",
    "Stop this run",
    "Send nothing more in this run; what was acknowledged stays",
    "change_subscription",
    confirms="ask_stop",
    in_place=True,
    tone="danger",
    failed="Failed to stop the run",
)
RUN = "run"  # the question names the run: a later one is not stopped by its answer


class StopButton(ButtonsMixin):
    """For the pages of Subscription and SyncRun."""

    def ask_stop(self, request: HttpRequest, row: Subscription | SyncRun) -> Confirmation | HttpResponse:
        subscription = _subscription_of(row)
        run = stopping.running(subscription)
        if run is None or (isinstance(row, SyncRun) and run != row):
            messages.error(request, f"{STOP.failed}: {stopping.no_run_text(subscription, run)}")
            return self.pressed(request, row, STOP)
        asked = Confirmation(
            title=f"Stop the run of {subscription}?",
            effect="It sends nothing more within seconds; what the app has acknowledged stays. The rest waits for the"
            " next change, a retry, or the hourly try. In a bulk operation this subscription counts as cancelled.",
            label=STOP.label,
            tone="danger",
        )
        hidden = [(RUN, str(run.pk))]
        return ask(request, asked, back=self.page(row), back_title=str(row), failed=STOP.failed, hidden=hidden)

    def stop(self, request: HttpRequest, row: Subscription | SyncRun) -> None:
        run_id = row.pk if isinstance(row, SyncRun) else uuid_of(request.POST.get(RUN, ""))
        try:
            stopping.stop(_subscription_of(row).pk, asker_of(request), run_id=run_id)
        except Refused as refusal:
            messages.error(request, f"{STOP.failed}: {refusal}")
            return
        messages.success(request, f"Stopping the run of {_subscription_of(row)}")


def _subscription_of(row: Subscription | SyncRun) -> Any:
    return row.subscription if isinstance(row, SyncRun) else row
