"""Sessions, known to PostgreSQL and Redis by the hashes of their keys.

A key opens the console, and stands in each statement that looks for it: whoever may see running statements, slow ones
in a log, a backup or Redis's keys would have it otherwise.
"""

import hashlib
from typing import Any

from django.contrib.sessions.backends import cached_db
from django.utils import timezone

LENGTH = 40  # of the column; 160 bits


def stored(key: str) -> str:
    """256 bits of a hash would not fit; a key's own 160 random bits need no slow one."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:LENGTH]


class SessionStore(cached_db.SessionStore):
    """`session_key` is the cookie's, and never leaves the process."""

    @property
    def cache_key(self) -> str:
        return f"{self.cache_key_prefix}{stored(self._get_or_create_session_key())}"  # type: ignore[attr-defined]

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(stored(session_key)))

    def create_model_instance(self, data: Any) -> Any:
        row = super().create_model_instance(data)
        row.session_key = stored(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(stored(key))

    def _get_session_from_db(self) -> Any:
        rows = self.model.objects.filter(expire_date__gt=timezone.now())
        row = rows.filter(session_key=stored(self.session_key)).first() if self.session_key else None
        if row is None:
            self._session_key = None
        return row
