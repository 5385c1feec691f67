"""Changes a repository."""

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Collection, Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.management import base
from syncsvc.management.adding import check_credential
from syncsvc.management.app_profile import NONE as NO_VALUE
from syncsvc.management.app_profile import reader
from syncsvc.management.asking import add_asker, asker
from syncsvc.management.changing import add_texts, change, texts_given, words
from syncsvc.management.credentials import NONE, add_credential, credential_given, username_in
from syncsvc.management.selectors import find_repository
from syncsvc.models import Repository
from syncsvc.operations.asker import Asker
from syncsvc.operations.repositories import REMOTE, save_repository

FLAGS = (
    "--name, --url, --branch, --poll, --username, --token-file, --ssh-key-file, --known-hosts-file, --no-credential,"
    " --ca-file, --no-ca"
)


class Command(base.Command):
    help = "Changes a repository. Another remote or credential is tried at once, also for what git failed for before."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("repository", metavar="NAME", help="or its id")
        add_texts(parser, name="its new name", url="of the remote", branch="to follow; '' for the one HEAD is on")
        parser.add_argument(
            "--poll",
            metavar="SECONDS",
            type=reader(Repository._meta.get_field("poll_seconds")),
            default=SUPPRESS,
            help=f"between two polls; {NO_VALUE}: the setting POLL_SECONDS",
        )
        add_credential(parser)
        parser.add_argument("--no-credential", action="store_true", help="forget the one that is stored")
        parser.add_argument("--no-ca", action="store_true", help="forget the CA's certificate that is stored")
        add_asker(parser)

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        repository, who = find_repository(options["repository"]), asker("repository_change", options)
        values = {**texts_given(options, "name", "url", "branch"), **_credential(options)}
        if "poll" in options:
            values["poll_seconds"] = options["poll"]
        if not values:
            raise Refused("usage", f"Say what to change: {FLAGS}.")
        changed = _change(repository, values, who, username_is_typed=options["username"] is not None)
        if REMOTE & set(changed):
            self.note_if_nobody_works()
        row = {name: getattr(repository, name) for name in ("id", "name", "url", "branch", "poll_seconds")}
        said = f"{repository} changed: {words(changed)}" if changed else f"{repository} is like that already"
        return base.Answer(document={**row, "changed": changed}, lines=[said])


def _credential(options: Mapping[str, Any]) -> dict[str, Any]:
    """By column; a token takes the place of a key, and the other way round. A CA is no credential, and stays."""
    given = credential_given(options)
    if options["no_ca"]:
        if "ca_certificate" in given:
            raise Refused("usage", "--no-ca forgets the CA's certificate; give no other with it.")
        given["ca_certificate"] = ""
    if options["no_credential"]:
        if set(given) - {"ca_certificate"}:
            raise Refused("usage", "--no-credential forgets the credential; give no other with it.")
        return {**given, **NONE}
    if "token" in given:
        given = {"ssh_key": None, "known_hosts": "", **given}
    elif "ssh_key" in given:
        given = {"token": None, "username": "", **given}
    if options["username"] is None and (username := username_in(options["url"] or "")):
        given["username"] = username
    return given


def _change(repository: Repository, values: Mapping[str, Any], who: Asker, *, username_is_typed: bool) -> list[str]:
    def save(columns: Collection[str]) -> None:
        # The URL of a public repository may name a user, too.
        check_credential(repository, but_not=() if username_is_typed else ("username",))
        save_repository(repository, who, changed=columns)

    return change(repository, values, who, taken=f"There is a repository {values.get('name')!r} already.", save=save)
