"""How values look on the pages: moments, statuses, paths, links. Everything is escaped."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from syncsvc import words
from syncsvc.admin.tones import Tone
from syncsvc.error_kinds import POLICIES
from syncsvc.types import ErrorKind
from syncsvc.visible import visible_path

NOTHING = "-"
PATH_SHOWN = 80  # characters


def moment(at: datetime | None, *, now: datetime | None = None) -> str:
    """`3 min ago` or `in 2 h`, the exact time of UTC in its title."""
    if at is None:
        return NOTHING
    exact = at.astimezone(UTC)
    text = words.relative(at - (now or datetime.now(UTC)))
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', exact.isoformat(), f"{exact:%Y-%m-%d %H:%M:%S} UTC", text
    )


def clock(at: datetime | None) -> str:
    """A time in the form of `words.clock`, with its distance from now in the title."""
    if at is None:
        return NOTHING
    now = datetime.now(UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.astimezone(UTC).isoformat(),
        words.relative(at - now),
        words.clock(at, now=now),
    )


def badge(text: str, tone: Tone) -> SafeString:
    return format_html('<span class="badge {}">{}</span>', tone, text)


def kind_cell(kind: str) -> SafeString:
    """An error kind's label in words, the code name beside it in small print; blank where nothing is wrong."""
    return (
        format_html('{} <span class="kind">{}</span>', POLICIES[ErrorKind(kind)].label, kind) if kind else SafeString()
    )


def path_text(path: bytes | memoryview) -> str:
    """git's bytes to read: what is not UTF-8, or would not be seen, as backslash escapes."""
    return visible_path(bytes(path))


def path_cell(path: bytes | memoryview | None) -> str:
    """The end of a long path, which says more than its beginning; the whole of it in the title."""
    if path is None:
        return NOTHING
    text = path_text(path)
    shown = text if len(text) <= PATH_SHOWN else f"…{text[1 - PATH_SHOWN :]}"
    return format_html('<code class="path" title="{}">{}</code>', text, shown)


def commit_cell(commit: str | None) -> str:
    return format_html('<code title="{}">{}</code>', commit, commit[:12]) if commit else NOTHING


def block(text: str) -> str:
    """Text as it is, line ends kept."""
    return format_html('<pre class="block">{}</pre>', text) if text else NOTHING


def count(number: int) -> str:
    """`10,000`."""
    return f"{number:,}"


def size_cell(size: int) -> SafeString:
    return format_html('<span title="{} bytes">{}</span>', f"{size:,}", words.size(size))


def link(row: models.Model, text: str = "") -> SafeString:
    """To the row's own page."""
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, text or str(row))


def list_link(model: type[models.Model], text: str, filters: Mapping[str, Any]) -> SafeString:
    """To the list of a model's rows, filtered."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode(filters), text)
