"""Encrypts stored secrets anew, so that an old key can be taken out of ENCRYPTION_KEYS."""

from collections.abc import Iterator, Mapping
from itertools import batched
from typing import Any

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.db import models, transaction

from syncsvc.management import base
from syncsvc.models.fields import EndingSecretsField, SealedField
from syncsvc.words import counted, plural

BATCH = 200


class Command(base.Command):
    help = "Encrypts every stored secret with the first of ENCRYPTION_KEYS; then the others can be taken out."

    def answer(self, options: Mapping[str, Any]) -> base.Answer:
        reencrypted, unreadable = 0, list[dict[str, Any]]()
        for model, fields in _sealed_models():
            ids = model._default_manager.order_by("pk").values_list("pk", flat=True).iterator()
            for batch in batched(ids, BATCH):
                reencrypted += _rotate(model, fields, batch, unreadable)
        if unreadable:
            self.exit_code = 1
        secrets = f"{counted(reencrypted, 'secret')} {plural(reencrypted, 'is', 'are')}"
        lines = [f"{secrets} encrypted with the first of ENCRYPTION_KEYS"]
        lines += [
            f"{row['model']} {row['name']}: its {row['field']} cannot be read with any of ENCRYPTION_KEYS; "
            "put the key it was written with back into the list, or set it anew"
            for row in unreadable
        ]
        return base.Answer(document={"reencrypted": reencrypted, "unreadable": unreadable}, lines=lines)


def _sealed_models() -> Iterator[tuple[type[models.Model], list[str]]]:
    for model in apps.get_models():
        fields = [f.attname for f in model._meta.concrete_fields if isinstance(f, SealedField | EndingSecretsField)]
        if fields:
            yield model, fields


def _rotate(
    model: type[models.Model], fields: list[str], ids: tuple[Any, ...], unreadable: list[dict[str, Any]]
) -> int:
    """One batch, its rows locked meanwhile: a secret that somebody sets now is not put back."""
    count = 0
    with transaction.atomic():
        rows = model._default_manager.select_for_update().filter(pk__in=ids).order_by("pk").only("pk", *fields)
        for row in rows:
            values, secrets, failed = _rotated(row, fields)
            unreadable += [
                {"model": model._meta.model_name, "id": row.pk, "name": str(row), "field": field} for field in failed
            ]
            if values:
                model._default_manager.filter(pk=row.pk).update(**values)
                count += secrets
    return count


def _rotated(row: models.Model, fields: list[str]) -> tuple[dict[str, Any], int, list[str]]:
    """New values, how many secrets these hold, and the fields that no key reads."""
    values: dict[str, Any] = {}
    count, failed = 0, list[str]()
    for name in fields:
        field: Any = row._meta.get_field(name)
        try:
            value, secrets = field.rotated(getattr(row, name))
        except InvalidToken:
            failed.append(name)
        else:
            if secrets:
                values[name] = value
                count += secrets
    return values, count, failed
