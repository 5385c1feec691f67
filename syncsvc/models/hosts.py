"""The host that a failure is shown under: that of the endpoint, or of the remote, for the ORM and in SQL."""

from typing import Any

from django.db.models import Case, Expression, F, Func, Value, When
from django.db.models.functions import Coalesce, Lower

from syncsvc.error_kinds import REMOTE_KINDS

# `https://user@host:8443/path`, and git's `user@host:path`; a path on this machine has no host.
OF_URL = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?([^/?#]+)"
OF_SCP = r"^(?:[^@/]+@)?([^:/]+):(?!//)"


def host_of(column: str) -> Lower:
    """Host and port of a URL column, in small letters; blank where it has none."""
    return Lower(Coalesce(_first(column, OF_URL), _first(column, OF_SCP), Value("")))


def cause_host() -> Case:
    """Of a subscription's failure: the repository's host where git failed, else the endpoint's."""
    return Case(When(error_kind__in=REMOTE_KINDS, then=host_of("repository__url")), default=host_of("app__url"))


# The same in SQL about a subscription `s`, its app `a` and its repository `r`; HOST_VALUES are the parameters.
CAUSE_URL_SQL = "CASE WHEN s.error_kind = ANY(%(of_remotes)s) THEN r.url ELSE a.url END"
HOST_VALUES: dict[str, Any] = {"of_url": OF_URL, "of_scp": OF_SCP, "of_remotes": [kind.value for kind in REMOTE_KINDS]}


def host_sql(url: str) -> str:
    """`url` is SQL for a URL."""
    return f"lower(coalesce(substring({url} FROM %(of_url)s), substring({url} FROM %(of_scp)s), ''))"


def _first(column: str, pattern: str) -> Expression:
    return Func(F(column), Value(pattern), function="substring")
