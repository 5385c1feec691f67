"""A repository's credential as options of `repository_add` and `repository_change`."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import InvalidUrlError, Refused
from syncsvc.management.adding import read_secret
from syncsvc.models.repository import given_url

# By option, the column that the file's text goes into.
FILES = {
    "token_file": "token",
    "ssh_key_file": "ssh_key",
    "known_hosts_file": "known_hosts",
    "ca_file": "ca_certificate",
}
NONE: dict[str, Any] = {"username": "", "token": None, "ssh_key": None, "known_hosts": ""}


def add_credential(parser: ArgumentParser) -> None:
    parser.add_argument("--username", metavar="U", help="for http and https, with --token-file (default: the URL's)")
    parser.add_argument("--token-file", metavar="F", help="holds the token or password; - for stdin")
    parser.add_argument("--ssh-key-file", metavar="F", help="holds the private key; - for stdin")
    parser.add_argument("--known-hosts-file", metavar="F", help="holds the host keys that are accepted, for ssh")
    parser.add_argument("--ca-file", metavar="F", help="holds the CA's certificate (PEM), trusted beside public ones")


def username_in(url: str) -> str:
    """The user of a clone URL such as Azure's and Bitbucket's, https://user@host/…; blank where there is none."""
    try:
        return given_url(url).username
    except InvalidUrlError:  # the command says so when it validates the row
        return ""


def credential_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """By column, what was typed or lies in the files that were named."""
    files = {column: options[option] for option, column in FILES.items() if options[option] is not None}
    if "token" in files and "ssh_key" in files:
        raise Refused("usage", "Give a token (http, https) or a private key (ssh), not both.")
    if list(files.values()).count("-") > 1:
        raise Refused("usage", "Only one file can be stdin; give the other by its name.")
    given = {column: read_secret(file) for column, file in files.items()}
    return given if options["username"] is None else {**given, "username": options["username"]}
