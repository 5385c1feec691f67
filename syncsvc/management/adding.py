"""Saving what a command adds, and reading the secrets that it is given in files."""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models, transaction

from syncsvc.exceptions import InvalidUrlError, Refused
from syncsvc.git.url import default_name
from syncsvc.models import AuditEntry, Repository
from syncsvc.models.repository import given_url
from syncsvc.operations.asker import Asker
from syncsvc.operations.repositories import credential_problems

MAX_SECRET_BYTES = 64 * 1024


def add(row: models.Model, asker: Asker, *, taken: str) -> None:
    """Validates, saves and logs a new row; Refused says what is wrong, or `taken` where another has its name."""
    with refusing(taken):
        row.full_clean()
        with transaction.atomic():
            row.save(force_insert=True)
            asker.log(row, "Added.", action=AuditEntry.Action.ADDED)


@contextmanager
def refusing(taken: str) -> Iterator[None]:
    """Turns a failed validation into Refused, in one line; with the words `taken` where another row has the name."""
    try:
        yield
    except ValidationError as error:
        if _codes(error) & {"unique", "unique_together"}:
            raise Refused("conflict", taken) from None
        raise Refused("invalid", _readable(error)) from None
    except IntegrityError:  # another was quicker
        raise Refused("conflict", taken) from None


def add_repository(repository: Repository, asker: Asker, *, name: str | None) -> None:
    """Saves the repository under this name, or under one made of its URL, with `@branch` where that is taken."""
    try:
        repository.url, username = given_url(repository.url)
    except InvalidUrlError as error:
        raise Refused("invalid", str(error)) from None
    check_credential(repository)
    repository.username = repository.username or username
    if name is None:
        name = default_name(repository.url)
        if Repository.objects.filter(name=name).exists():
            name = f"{name}@{repository.branch or 'HEAD'}"
    repository.name = name
    add(repository, asker, taken=f"There is a repository {name!r} already; choose another name with --name.")


def check_credential(repository: Repository, *, but_not: Collection[str] = ()) -> None:
    """Refused where the credential does not fit the URL; problems of the columns `but_not` are left out."""
    problems = credential_problems(repository)
    if counted := {column: text for column, text in problems.items() if column not in but_not}:
        raise Refused("invalid", _lines(counted))


def read_secret(name: str) -> str:
    """The text of a file, or of stdin for `-`, without line end and byte order mark; it appears in no message."""
    try:
        data = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1) if name == "-" else _head(Path(name))
        text = data.decode("utf-8-sig").strip()
    except OSError as error:
        raise Refused("invalid", f"The file {name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise _no_text(name) from None
    if "\0" in text:
        raise _no_text(name)
    if not text or len(data) > MAX_SECRET_BYTES:
        raise Refused("invalid", f"The file {name} is empty, or longer than a secret can be; give the right file.")
    return text


def _no_text(name: str) -> Refused:
    return Refused("invalid", f"The file {name} holds bytes that are no text; give the right file.")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_SECRET_BYTES + 1)


def _codes(error: ValidationError) -> set[str | None]:
    return {problem.code for problems in error.error_dict.values() for problem in problems}


def _readable(error: ValidationError) -> str:
    return _lines({field: " ".join(messages) for field, messages in error.message_dict.items()})


def _lines(problems: Mapping[str, str]) -> str:
    """One line: each field as its option is called, and what is wrong with it."""
    return " ".join(
        text if field == NON_FIELD_ERRORS else f"{field.replace('_', '-')}: {text}" for field, text in problems.items()
    )
