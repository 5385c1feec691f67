"""Numbers on the page of one app or repository: read once for all tabs, and kept in Redis for a moment."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from syncsvc.admin import kept
from syncsvc.admin.moments import with_moments
from syncsvc.models import App, Repository


class Numbers:
    """`model` names the rows; `read` gives the numbers of one row as JSON.

    Where a statement reads the row and its numbers together, the row has the JSON in its attribute `numbers`.
    """

    def __init__(self, model: str, read: Callable[[UUID], str]) -> None:
        self._model, self._read = model, read

    def of(self, row: App | Repository) -> dict[str, Any]:
        """The numbers that came with the row, or are kept; they stay on the row, for the page's other panels."""
        known = vars(row)
        if "numbers" not in known:
            known["numbers"] = kept.kept(self._name(row.pk), lambda: self._read(row.pk))
        numbers: dict[str, Any] = with_moments(json.loads(known["numbers"]))
        return numbers

    def counts_of(self, row: App | Repository) -> dict[str, Any]:
        """The subscriptions by state."""
        counts: dict[str, Any] = self.of(row)["counts"]
        return counts

    def is_fresh(self, row_id: UUID) -> bool:
        return kept.is_fresh(self._name(row_id))

    def keep(self, row: App | Repository) -> str:
        """Keeps the numbers that came with the row, and returns them as JSON."""
        text: str = vars(row)["numbers"]
        kept.keep(self._name(row.pk), text)
        return text

    def forget(self, row: App | Repository) -> None:
        """Has the numbers read again: somebody has just changed something, and wants to see it."""
        kept.forget(self._name(row.pk))

    def _name(self, row_id: UUID) -> str:
        return f"{self._model}:{row_id}"
