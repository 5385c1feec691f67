"""An app's headers and certificates: whether they go together, and whether they go along to another host."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db.models import QuerySet

from syncsvc.delivery.client_certificate import fits
from syncsvc.exceptions import Refused
from syncsvc.models import App
from syncsvc.models.fields import Sealed


@dataclass(frozen=True, slots=True)
class AuthenticationColumn:
    """A column of App that is given as text: in the console's form, or to commands as a file."""

    name: str
    option: str
    words: str
    help: str


AUTHENTICATION = (
    AuthenticationColumn(
        "headers",
        "headers",
        "headers",
        "Lines `Name: value` that go with each request, such as Authorization; the values are never shown again.",
    ),
    AuthenticationColumn(
        "ca_certificate",
        "ca",
        "CA certificate",
        "PEM, for an endpoint whose certificate comes from an authority of its own; trusted besides the public ones.",
    ),
    AuthenticationColumn(
        "client_certificate",
        "client-certificate",
        "client certificate",
        "PEM, with its chain: shown to an endpoint that wants one (mutual TLS).",
    ),
    AuthenticationColumn(
        "client_key", "client-key", "client key", "PEM, the private key of the client certificate; never shown again."
    ),
)
AUTHENTICATION_NAMES = tuple(column.name for column in AUTHENTICATION)
NOTHING: dict[str, str | None] = {"headers": None, "ca_certificate": "", "client_certificate": "", "client_key": None}


def authentication_problems(app: App) -> dict[str, str]:
    """Where the client certificate and its key do not go together, by column; each has been checked by itself."""
    certificate, key = app.client_certificate, _plain(app.client_key)
    if certificate and not key:
        return {"client_key": "A client certificate goes with its private key; give that as well."}
    if key and not certificate:
        return {"client_certificate": "A private key goes with its certificate; give that as well."}
    if certificate and key and not fits(certificate, key):
        return {"client_key": "This key is not that of the client certificate, the first one if there are several."}
    return {}


def is_other_origin(old: str, new: str) -> bool:
    """True where the URLs differ in scheme, host or port."""
    return _origin(old) != _origin(new)


def held(app: App, *, but_not: Collection[str] = ()) -> list[str]:
    """The columns of AUTHENTICATION that the app has something in."""
    return [name for name in AUTHENTICATION_NAMES if name not in but_not and getattr(app, name)]


def move_text(app: App, names: Collection[str]) -> str:
    """The question whether these columns go with the app to another host."""
    words = [column.words for column in AUTHENTICATION if column.name in names]
    return (
        f"The new URL is another scheme, host or port, and the app has {', '.join(words)} for the old one."
        " Say whether the new one is to get them too."
    )


def before_saving(app: App, rows: "QuerySet[App]", changed: Collection[str], *, keep: bool | None) -> Collection[str]:
    """Locks the app's row; at another origin its headers and certificates stay only where somebody says so.

    `keep` is that answer; None where nobody was asked. Returns the columns that were emptied, to be saved as well.
    Refused: `confirm` where the answer is needed; `conflict` where the URL was changed after the app was read.
    """
    stored = rows.select_for_update(no_key=True).first()
    if stored is None or not is_other_origin(stored.url, app.url):
        return ()
    if "url" not in changed:
        raise Refused("conflict", f"Somebody has changed the URL of {app.name} meanwhile; look at it, and try again.")
    going = held(stored, but_not=changed)
    if not going or keep:
        return ()
    if keep is None:
        raise Refused("confirm", move_text(app, going))
    for name in going:
        setattr(app, name, NOTHING[name])
    if problems := authentication_problems(app):
        raise Refused("invalid", " ".join(problems.values()))
    return going


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # stored before it was checked
        return url, "", None
    return parts.scheme, (parts.hostname or "").rstrip("."), port


def _plain(secret: Sealed | str | None) -> str:
    return secret.reveal() if isinstance(secret, Sealed) else secret or ""
