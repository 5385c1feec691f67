"""Adds a repository that is watched."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.adding import add_repository
from syncsvc.management.asking import asker
from syncsvc.management.credentials import add_credential, credential_given, username_in
from syncsvc.models import Repository


class Command(base.Command):
    help = "Adds a git repository that is watched. Secrets come from files, and are never shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", metavar="URL", help="https, http, ssh or git; local paths where GIT_ALLOW_LOCAL=1")
        parser.add_argument("--name", metavar="N", help="default: the URL's last two parts, such as owner/repo")
        parser.add_argument("--branch", metavar="B", default="", help="default: the one that the remote's HEAD is on")
        base.add_positive(parser, "--poll", metavar="SECONDS", help="between two polls (default: POLL_SECONDS)")
        add_credential(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        credential = _credential(options)
        repository = Repository(
            url=options["url"],
            branch=options["branch"],
            poll_seconds=options["poll"],
            **credential,
        )
        add_repository(repository, asker("repository_add", options), name=options["name"])
        row = {"id": repository.id, "name": repository.name, "url": repository.url, "branch": repository.branch}
        branch = f"branch {repository.branch}" if repository.branch else "the branch of its HEAD"
        return base.Answer(document=row, lines=[f"{repository.name} added, following {branch}"])


def _credential(options: Mapping[str, Any]) -> dict[str, Any]:
    lacks_token = options["username"] is not None and options["token_file"] is None
    nameless = options["username"] is None and options["token_file"] is not None
    if lacks_token or (nameless and not username_in(options["url"])):
        raise Refused("usage", "--username and --token-file go together; give both.")
    if (options["ssh_key_file"] is None) != (options["known_hosts_file"] is None):
        raise Refused(
            "usage", "--ssh-key-file and --known-hosts-file go together; `ssh-keyscan HOST` prints host keys."
        )
    return credential_given(options)
