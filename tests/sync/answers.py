"""Scripts for the receiver: what it answers to which file."""

import json
from collections.abc import Mapping
from typing import Any

from tests.receiver import OK, Reply, Script


def files_of(body: bytes) -> list[dict[str, Any]]:
    """The files a request is about."""
    data = json.loads(body)["data"]
    return [item["file"] for item in data["files"]] if "files" in data else [data["file"]] if "file" in data else []


def always(status: int, headers: Mapping[str, str] | None = None, *, delay: float = 0.0) -> Script:
    return lambda _, body: (status, headers or {}, b"", delay)


def refuses(*paths: str, status: int = 422) -> Script:
    """Answers with `status` where one of these files is in the request."""

    def answer(headers: dict[str, str], body: bytes) -> Reply:
        named = any(file["path"] in paths for file in files_of(body))
        return (status, {}, b"no, not that one", 0.0) if named else OK

    return answer


def in_turn(*scripts: Script) -> Script:
    """One after the other; the last one goes on."""
    left = list(scripts)

    def answer(headers: dict[str, str], body: bytes) -> Any:
        script = left.pop(0) if len(left) > 1 else left[0]
        return script(headers, body)

    return answer
