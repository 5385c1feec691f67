"""What the console says of an endpoint's answer to *Send test*."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.delivery.answers import Answer

ANSWER_BYTES = 1024


def describe(answer: Answer[None]) -> SafeString:
    """For a person: status, milliseconds, and the beginning of the answer's body."""
    milliseconds = round(answer.seconds * 1000)
    if answer.error_kind is None:
        said = f"The endpoint answered {answer.status} in {milliseconds} ms."
    else:
        said = f"{answer.error} ({answer.error_kind}, {milliseconds} ms)"
    body = answer.body[:ANSWER_BYTES].decode(errors="backslashreplace")
    return format_html('{}<pre class="block">{}</pre>', said, body) if body else format_html("{}", said)
