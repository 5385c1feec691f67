"""What the web server answers shows hidden characters as escapes, whoever put them there."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from syncsvc.visible import may_hide, visible, visible_html, visible_json


class VisibleAnswersMiddleware:
    """Of pages, JSON and plain text; not of files. Stands inside the one that compresses."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        show = _showing(response.headers.get("Content-Type", ""))
        if show is not None and not response.streaming:
            content: bytes = response.content  # type: ignore[attr-defined]
            if may_hide(content):
                response.content = show(content.decode(errors="backslashreplace")).encode()  # type: ignore[attr-defined]
                if "Content-Length" in response.headers:
                    response.headers["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]
        return response


def _showing(content_type: str) -> Callable[[str], str] | None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/html":
        return visible_html
    if media_type.endswith("json"):
        return visible_json
    return visible if media_type == "text/plain" else None
