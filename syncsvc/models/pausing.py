"""Pausing and resuming as columns: an app says why it is paused, repositories and subscriptions do not."""

from typing import Any

from django.db import models

from syncsvc.models.app import App


def set_active(rows: "models.QuerySet[Any]", *, is_active: bool, reason: str = "") -> int:
    """Pauses or resumes those rows that are not in that state yet, in one UPDATE; returns their number."""
    values: dict[str, Any] = {"is_active": is_active}
    if rows.model is App:
        values["pause_reason"] = "" if is_active else reason
    return rows.filter(is_active=not is_active).update(**values)
