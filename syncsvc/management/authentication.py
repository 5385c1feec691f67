"""An app's headers and certificates as options of `app_add` and `app_change`; their text comes from files."""

from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncsvc.delivery.client_certificate import describe
from syncsvc.exceptions import Refused
from syncsvc.management.adding import read_secret, refusing
from syncsvc.models import App
from syncsvc.operations.authentication import (
    AUTHENTICATION,
    AUTHENTICATION_NAMES,
    NOTHING,
    authentication_problems,
)

# The options that forget: by option, its columns.
FORGETS = {
    "no_headers": ("headers",),
    "no_ca": ("ca_certificate",),
    "no_client_certificate": ("client_certificate", "client_key"),
}


def add_authentication(parser: ArgumentParser) -> None:
    for column in AUTHENTICATION:
        help = (
            f"{column.help[:1].lower() if column.name == 'headers' else column.help[:1]}{column.help[1:].rstrip('.')}"
        )
        parser.add_argument(f"--{column.option}-file", metavar="F", help=f"holds {help}; - for stdin")


def add_forgetting(parser: ArgumentParser) -> None:
    parser.add_argument("--no-headers", action="store_true", help="forget the headers that are stored")
    parser.add_argument("--no-ca", action="store_true", help="forget the CA certificate that is stored")
    parser.add_argument("--no-client-certificate", action="store_true", help="forget it, and its key")
    at_new_url = parser.add_mutually_exclusive_group()
    at_new_url.add_argument(
        "--keep-authentication", action="store_true", help="another host gets the headers and certificates too"
    )
    at_new_url.add_argument(
        "--drop-authentication", action="store_true", help="forget them if the new URL is another host's"
    )


def flags() -> list[str]:
    given = [f"--{column.option}-file" for column in AUTHENTICATION]
    return [*given, *(f"--{option.replace('_', '-')}" for option in FORGETS)]


def authentication_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """By column, the text of the files that were named, or nothing for what is to be forgotten."""
    named = {column.name: options[f"{column.option.replace('-', '_')}_file"] for column in AUTHENTICATION}
    files = {name: file for name, file in named.items() if file is not None}
    if list(files.values()).count("-") > 1:
        raise Refused("usage", "Only one file can be stdin; give the others by their names.")
    given: dict[str, Any] = {name: read_secret(file) for name, file in files.items()}
    for option, names in FORGETS.items():
        if not options.get(option):
            continue
        if set(names) & set(given):
            raise Refused("usage", f"--{option.replace('_', '-')} forgets what is stored; give nothing new with it.")
        given |= {name: NOTHING[name] for name in names}
    return given


def kept(options: Mapping[str, Any]) -> bool | None:
    """The answer to the question about another host; None where it was not given."""
    return True if options["keep_authentication"] else False if options["drop_authentication"] else None


def check_authentication(app: App) -> None:
    """Refused where a header, a certificate or the key is none, or certificate and key do not go together."""
    with refusing(""):
        app.clean_fields(exclude={field.name for field in app._meta.concrete_fields} - set(AUTHENTICATION_NAMES))
    if problems := authentication_problems(app):
        raise Refused("invalid", " ".join(f"{name.replace('_', '-')}: {text}" for name, text in problems.items()))


def certificate_note(app: App) -> str:
    """A client certificate that has ended, or ends soon; blank where there is nothing to say."""
    if not app.client_certificate:
        return ""
    trouble = describe(app.client_certificate)[0].trouble(datetime.now(UTC))
    return f"The client certificate: {trouble}" if trouble else ""
