"""`Send this file again`: on the page of a file, and of an attempt to send it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from syncsvc.admin import answers
from syncsvc.admin.asking import asker_of
from syncsvc.admin.buttons import Button
from syncsvc.admin.cells import path_text
from syncsvc.admin.history import HistoryAdmin
from syncsvc.admin.parts import is_htmx
from syncsvc.admin.status import changed_status
from syncsvc.exceptions import Refused
from syncsvc.models import DeliveredFile, DeliveryAttempt
from syncsvc.operations import single

SEND_AGAIN = Button(
    "send_again",
    "Send this file again",
    "Send the present version, as if the app did not have it; or that it is gone",
    "resync_subscription",
    in_place=True,
    failed="Failed to send the file again",
)


class SendAgain(HistoryAdmin):
    """For rows that are about one file of one subscription."""

    buttons = (SEND_AGAIN,)

    def buttons_of(self, row: DeliveredFile | DeliveryAttempt) -> Sequence[Button]:
        return () if row.path is None else self.buttons

    def send_again(self, request: HttpRequest, row: DeliveredFile | DeliveryAttempt) -> None:
        path = bytes(row.path or b"")
        if not path:
            messages.error(request, "Failed to send the file again: the request was not about one file.")
            return
        try:
            single.send_again(row.subscription_id, path, asker_of(request))
        except Refused as refusal:
            messages.error(request, f"Failed to send the file again: {refusal}")
            return
        messages.success(request, f"Sending {path_text(path)} again")

    def pressed(self, request: HttpRequest, row: Any, button: Button) -> HttpResponse:
        """The badge of its subscription changes wherever it stands on the page."""
        if not is_htmx(request):
            return super().pressed(request, row, button)
        return answers.done(request, changed=row.subscription_id, content=changed_status(row.subscription_id))
