"""Rows that PostgreSQL gave as JSON, with their moments as moments."""

from datetime import datetime
from typing import Any

NAMES = ("moment", "since", "until")
ENDS = ("_since", "_at")


def with_moments(value: Any) -> Any:
    """The same, at any depth; a moment is known by its name."""
    if isinstance(value, dict):
        return {name: _moment(inner) if _is_moment(name) else with_moments(inner) for name, inner in value.items()}
    return [with_moments(inner) for inner in value] if isinstance(value, list) else value


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _is_moment(name: str) -> bool:
    return name in NAMES or name.endswith(ENDS)
