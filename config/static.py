"""Static files, compressed once by each process and kept in its memory: a checkout needs no step before it serves."""

import gzip
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

COMPRESSED = ("text/", "application/javascript", "application/json", "image/svg")
SMALLEST = 200  # bytes; below it nothing is gained
LEVEL = 9


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc] # it has no types
    """Whole files that compress go out so to whoever takes that; parts of files, and pictures, as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[str, bytes] = {}

    def serve(self, static_file: Any, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = super().serve(static_file, request)
        if response.status_code != 200 or not response.headers.get("Content-Type", "").startswith(COMPRESSED):
            return response
        patch_vary_headers(response, ("Accept-Encoding",))
        if request.method != "GET" or int(response.headers["Content-Length"]) < SMALLEST or not _takes_gzip(request):
            return response
        return self._compressed(request.path_info, response)

    def _compressed(self, path: str, whole: Any) -> HttpResponse:
        # The ETag has the file's time and size: what has changed is compressed anew.
        key = f"{path} {whole.headers['ETag']}"
        if (packed := self._kept.get(key)) is None:
            packed = self._kept[key] = gzip.compress(b"".join(whole.streaming_content), LEVEL, mtime=0)
        whole.file_to_stream.close()  # closing the response would end the request
        headers = {**whole.headers, "Content-Length": str(len(packed)), "Content-Encoding": "gzip"}
        return HttpResponse(packed, headers=headers)


def _takes_gzip(request: HttpRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")
