"""Whose fault a failure may be: the host of an endpoint, or of a remote, as SQL says it."""

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


def _first(column: str, pattern: str) -> Expression:
    return Func(F(column), Value(pattern), function="substring")
