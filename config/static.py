"""Static files, compressed once by each process and kept in its memory: a checkout needs no step before it serves.

They are kept as they are, too: a thousand clients that hardly read share the bytes of one file.
"""

import gzip
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

COMPRESSED = ("text/", "application/javascript", "application/json", "image/svg")
SMALLEST = 200  # bytes; below it nothing is gained
LEVEL = 9


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc] # it has no types
    """Serves whole files; those that compress, compressed, where the client takes that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[str, bytes] = {}

    def serve(self, static_file: Any, request: HttpRequest) -> HttpResponseBase:
        request.META.pop("HTTP_RANGE", None)  # a server may answer with the whole file (RFC 9110, 14.2)
        response: Any = super().serve(static_file, request)
        if response.status_code != 200:
            return cast("HttpResponseBase", response)
        compresses = response.headers.get("Content-Type", "").startswith(COMPRESSED)
        if compresses:
            patch_vary_headers(response, ("Accept-Encoding",))
        if request.method != "GET":
            return cast("HttpResponseBase", response)
        packed = compresses and int(response.headers["Content-Length"]) >= SMALLEST and _takes_gzip(request)
        return self._whole(request.path_info, response, packed=packed)

    def _whole(self, path: str, response: Any, *, packed: bool) -> HttpResponse:
        # The ETag has the file's time and size: what has changed is read again.
        key = f"{path} {response.headers['ETag']} {'gzip' if packed else ''}"
        if (content := self._kept.get(key)) is None:
            content = b"".join(response.streaming_content)
            content = self._kept[key] = gzip.compress(content, LEVEL, mtime=0) if packed else content
        response.file_to_stream.close()  # closing the response would end the request
        headers = {**response.headers, "Content-Length": str(len(content))}
        return HttpResponse(content, headers=headers | ({"Content-Encoding": "gzip"} if packed else {}))


def _takes_gzip(request: HttpRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")
