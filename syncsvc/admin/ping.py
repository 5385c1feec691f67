"""The console's message about an endpoint's answer to *Send test*."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsvc.operations.testing import Tested, effect_text

ANSWER_BYTES = 1024


def describe(tested: Tested) -> SafeString:
    """For a person: status, milliseconds, what it ended, and the beginning of the answer's body."""
    answer = tested.answer
    if tested.succeeded:
        said = f"The endpoint answered {answer.status} in {tested.milliseconds} ms. {effect_text(tested)}".rstrip()
    else:
        said = f"{answer.error} ({answer.error_kind}, {tested.milliseconds} ms)"
    body = answer.body[:ANSWER_BYTES].decode(errors="backslashreplace")
    return format_html('{}<pre class="block">{}</pre>', said, body) if body else format_html("{}", said)
