"""Changes a repository."""

from argparse import ArgumentParser
from collections.abc import Collection, Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.adding import check_credential
from syncsvc.management.asking import add_asker, asker
from syncsvc.management.changing import add_texts, change, texts_given, words
from syncsvc.management.credentials import NONE, add_credential, credential_given
from syncsvc.management.selectors import find_repository
from syncsvc.models import Repository
from syncsvc.operations.asker import Asker
from syncsvc.operations.repositories import REMOTE, save_repository

FLAGS = "--name, --url, --branch, --poll, --username, --token-file, --ssh-key-file, --known-hosts-file, --no-credential"


class Command(base.Command):
    help = "Changes a repository. Another remote or credential is tried at once, also for what git failed for before."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("repository", metavar="NAME", help="or its id")
        add_texts(parser, name="its new name", url="of the remote", branch="to follow; '' for the one HEAD is on")
        base.add_positive(parser, "--poll", metavar="SECONDS", help="between two polls")
        add_credential(parser)
        parser.add_argument("--no-credential", action="store_true", help="forget the one that is stored")
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        repository, who = find_repository(options["repository"]), asker("repository_change", options)
        values = {**texts_given(options, "name", "url", "branch"), **_credential(options)}
        if options["poll"] is not None:
            values["poll_seconds"] = options["poll"]
        if not values:
            raise Refused("usage", f"Say what to change: {FLAGS}.")
        changed = _change(repository, values, who)
        if REMOTE & set(changed):
            self.note_if_nobody_works()
        row = {name: getattr(repository, name) for name in ("id", "name", "url", "branch", "poll_seconds")}
        said = f"{repository} changed: {words(changed)}" if changed else f"{repository} is like that already"
        return base.Answer(document={**row, "changed": changed}, lines=[said])


def _credential(options: Mapping[str, Any]) -> dict[str, Any]:
    """By column; a token takes the place of a key, and the other way round."""
    given = credential_given(options)
    if options["no_credential"]:
        if given:
            raise Refused("usage", "--no-credential forgets the credential; give no other with it.")
        return NONE
    if "token" in given:
        return {"ssh_key": None, "known_hosts": "", **given}
    return {"token": None, "username": "", **given} if "ssh_key" in given else given


def _change(repository: Repository, values: Mapping[str, Any], who: Asker) -> list[str]:
    def save(columns: Collection[str]) -> None:
        check_credential(repository)
        save_repository(repository, who, changed=columns)

    return change(repository, values, who, taken=f"There is a repository {values.get('name')!r} already.", save=save)
