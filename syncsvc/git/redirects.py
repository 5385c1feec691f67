"""Which redirects of a git remote are followed, and to where."""

from urllib.parse import urljoin, urlsplit, urlunsplit

from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.url import check_url, place_of

STATUSES = frozenset({301, 302, 303, 307, 308})
MOST = 5
_ASKED = "/info/refs"
_QUERY = "service=git-upload-pack"


def discovery_url(url: str) -> str:
    """What git asks a remote for first, and what a redirect is relative to."""
    return f"{url.rstrip('/')}{_ASKED}?{_QUERY}"


def redirect_target(url: str, location: str, *, has_credential: bool) -> str | None:
    """The repository's URL that an answer to `discovery_url` leads to; None where that is not followed.

    Without a credential: the same host, and https in place of http. With one, which goes only to the place that it was
    given for: `.git` at the end of the same URL. Never to another host, and never from https to http.
    """
    target = _target(url, location)
    if target is None or target == url:
        return None
    old, new = urlsplit(url), urlsplit(target)
    if has_credential:
        same_origin = (old.scheme, *place_of(url)) == (new.scheme, *place_of(target))
        return target if same_origin and new.path == f"{old.path}.git" else None
    is_downgrade = (old.scheme, new.scheme) == ("https", "http")
    return target if new.hostname == old.hostname and not is_downgrade else None


def _target(url: str, location: str) -> str | None:
    """Where an answer to another request leads is not known to be a repository."""
    try:
        parts = urlsplit(urljoin(discovery_url(url), location))
        if parts.scheme not in {"http", "https"} or parts.query != _QUERY or not parts.path.endswith(_ASKED):
            return None
        base = parts._replace(path=parts.path.removesuffix(_ASKED), query="", fragment="")
        return check_url(urlunsplit(base), allow_local=False) if location.isascii() else None
    except (ValueError, InvalidUrlError):
        return None
