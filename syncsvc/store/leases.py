"""Leases of running subscriptions."""

import uuid
from collections.abc import Sequence

from django.conf import settings

from syncsvc.store.statements import fetch_all

# Lengthens the leases of one process. Locks subscriptions in the order of their ids. Called every LEASE_RENEW_SECONDS.
_RENEW = """
WITH held AS (
  SELECT id FROM syncsvc_subscription WHERE lease_token = ANY(%(tokens)s::uuid[]) AND status = 'syncing'
  ORDER BY id FOR NO KEY UPDATE
)
UPDATE syncsvc_subscription s SET lease_expires_at = statement_timestamp() + make_interval(secs => %(seconds)s)
FROM held WHERE s.id = held.id RETURNING lease_token
"""


def renew_leases(tokens: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Lengthens these leases by LEASE_SECONDS; those that are still held."""
    rows = fetch_all(_RENEW, {"tokens": list(tokens), "seconds": settings.LEASE_SECONDS})
    return {token for (token,) in rows}
