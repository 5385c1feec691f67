"""Adds a repository that is watched."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import InvalidUrlError, Refused
from syncsvc.management import base
from syncsvc.management.adding import add_repository, read_secret
from syncsvc.models import Repository
from syncsvc.models.repository import given_url


class Command(base.Command):
    help = "Adds a git repository that is watched. Secrets come from files, and are never shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", metavar="URL", help="https, http, ssh or git; local paths where GIT_ALLOW_LOCAL=1")
        parser.add_argument("--name", metavar="N", help="default: the URL's last two parts, such as owner/repo")
        parser.add_argument("--branch", metavar="B", default="", help="default: the one that the remote's HEAD is on")
        base.add_positive(parser, "--poll", metavar="SECONDS", help="between two polls (default: POLL_SECONDS)")
        parser.add_argument(
            "--username", metavar="U", help="for http and https, with --token-file (default: the URL's)"
        )
        parser.add_argument("--token-file", metavar="F", help="holds the token or password; - for stdin")
        parser.add_argument("--ssh-key-file", metavar="F", help="holds the private key; - for stdin")
        parser.add_argument("--known-hosts-file", metavar="F", help="holds the host keys that are accepted, for ssh")
        parser.add_argument(
            "--ca-file", metavar="F", help="holds the CA's certificate (PEM), trusted beside public ones"
        )

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        credential = _credential(options)
        repository = Repository(
            url=options["url"],
            branch=options["branch"],
            poll_seconds=options["poll"],
            ca_certificate=read_secret(options["ca_file"]) if options["ca_file"] else "",
            **credential,
        )
        add_repository(repository, name=options["name"])
        row = {"id": repository.id, "name": repository.name, "url": repository.url, "branch": repository.branch}
        branch = f"branch {repository.branch}" if repository.branch else "the branch of its HEAD"
        return base.Answer(document=row, lines=[f"{repository.name} added, following {branch}"])


def _names_user(url: str) -> bool:
    """As Azure's and Bitbucket's clone URLs do: https://user@host/…"""
    try:
        return bool(given_url(url).username)
    except InvalidUrlError:  # which is said when it is added
        return False


def _credential(options: Mapping[str, Any]) -> dict[str, Any]:
    token, key, hosts = (options[name] for name in ("token_file", "ssh_key_file", "known_hosts_file"))
    lacks_token = options["username"] is not None and token is None
    lacks_username = options["username"] is None and token is not None and not _names_user(options["url"])
    if lacks_token or lacks_username:
        raise Refused("usage", "--username and --token-file go together; give both.")
    if (key is None) != (hosts is None):
        raise Refused(
            "usage", "--ssh-key-file and --known-hosts-file go together; `ssh-keyscan HOST` prints host keys."
        )
    if token is not None and key is not None:
        raise Refused("usage", "Give a token (http, https) or a private key (ssh), not both.")
    if key == hosts == "-":
        raise Refused("usage", "Only one file can be stdin; give the other by its name.")
    if token is not None:
        return {"username": options["username"] or "", "token": read_secret(token)}
    if key is not None:
        return {"ssh_key": read_secret(key), "known_hosts": read_secret(hosts)}
    return {}
