"""Statements that every run repeats: prepared once a connection, so that PostgreSQL does not plan them each time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db import connection, models
from django.db.backends.postgresql.base import ServerBindingCursor

type Names = tuple[str, ...]


class _PreparingCursor(ServerBindingCursor):
    def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
        return super().execute(query, params, prepare=True)  # type: ignore[misc]


@contextmanager
def hot_cursor() -> Iterator[Any]:
    """A cursor whose parameters PostgreSQL binds, so that it can keep the statement; counted and wrapped like others.

    It needs `prepare_threshold` in DATABASES, which the ORM's own cursors do not heed.
    """
    connection.ensure_connection()
    make: Any = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    open_cursor: Any = _PreparingCursor
    with make(open_cursor(connection.connection)) as cursor:
        yield cursor


def fetch_one(sql: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    with hot_cursor() as cursor:
        cursor.execute(sql, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def columns_of(model: type[models.Model], alias: str, only: Names = ()) -> str:
    """A model's columns as a statement's SELECT or RETURNING names them, in the order that `row_of` reads.

    `only` names those that are wanted; the others are deferred. None: all.
    """
    return ", ".join(f"{alias}.{field.column}" for field in fields_of(model, only))


def fields_of(model: type[models.Model], only: Names = ()) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not only or field.attname in only]


def row_of[M: models.Model](model: type[M], values: tuple[Any, ...], only: Names = ()) -> M:
    """The instance of these columns, converted as a queryset does it."""
    names, converters = _reading(model, only)
    converted = list(values)
    for index, convert in converters:
        converted[index] = convert(converted[index], None, connection)
    return model.from_db(connection.alias, names, converted)


@cache
def _reading(model: type[models.Model], only: Names) -> tuple[list[str], list[tuple[int, Any]]]:
    fields = fields_of(model, only)
    converters = [(index, getattr(field, "from_db_value", None)) for index, field in enumerate(fields)]
    return [field.attname for field in fields], [(index, convert) for index, convert in converters if convert]
