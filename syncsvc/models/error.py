"""The error kinds as a column."""

from typing import Any

from django.db import models

from syncsvc.types import ErrorKind

ERROR_KIND_CHOICES = [(kind.value, kind.value) for kind in ErrorKind]


def error_kind_field(**options: Any) -> "models.CharField[Any, Any]":
    """Blank where nothing is wrong."""
    return models.CharField(max_length=32, blank=True, default="", db_default="", choices=ERROR_KIND_CHOICES, **options)


def error_kind_known(name: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=models.Q(error_kind__in=["", *(kind.value for kind in ErrorKind)]), name=f"{name}_error_kind_known"
    )
