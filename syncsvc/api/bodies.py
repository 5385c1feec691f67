"""Bodies of the API: JSON of bounded width. The web server bounds their length, Python the depth."""

from itertools import islice
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

MOST_FIELDS = 100  # of an object: several times as many as any operation takes


class BoundedParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Keeps the first fields of an object. A surplus field is an error, and one a field is more than enough."""
        document = super().parse_body(request)
        if isinstance(document, dict) and len(document) > MOST_FIELDS:
            return dict(islice(document.items(), MOST_FIELDS))
        return document
