"""Prepared statements: PostgreSQL plans a statement that every run repeats once a connection.

psycopg's raw cursor sends a statement as it is: no placeholder is looked for, so length and comments cost nothing.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple

import psycopg
from django.db import connection, models
from django.db.backends.postgresql.base import CursorMixin

_PLACEHOLDER = re.compile(r"%(?:\((?P<name>\w+)\)s|(?P<percent>%))")

type Row = tuple[Any, ...]

# Limits how long each statement of the transaction may take. Locks nothing. Called by the console's lists of history.
_LIMIT = "SELECT set_config('statement_timeout', %(limit)s, TRUE)"


class Numbered(NamedTuple):
    """A statement as PostgreSQL wants it: `$1` for the first of `names`, and so on."""

    sql: str
    names: tuple[str, ...]


@lru_cache(maxsize=256)
def numbered(sql: str) -> Numbered:
    """Translates `%(name)s` to `$n`, and `%%` to `%`; a name that comes twice has one number."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found["percent"]:
            return "%"
        return f"${names.setdefault(found['name'], len(names) + 1)}"

    return Numbered(_PLACEHOLDER.sub(number, sql), tuple(names))


class _PreparedCursor(CursorMixin, psycopg.RawCursor[Row]):
    """Takes statements with named parameters, as Django's other cursors do, so that its wrappers can log them."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
        sql, names = numbered(query)
        return super().execute(sql, [params[name] for name in names], prepare=True)


@contextmanager
def prepared_cursor() -> Iterator[Any]:
    """A cursor whose statements are prepared and whose parameters PostgreSQL binds; counted and wrapped like others.

    It needs `prepare_threshold` in DATABASES, which the ORM's own cursors do not heed.
    """
    connection.ensure_connection()
    wrap: Any = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    open_cursor: Any = _PreparedCursor
    with wrap(open_cursor(connection.connection)) as cursor:
        yield cursor


def execute(sql: str, values: Mapping[str, Any]) -> None:
    with prepared_cursor() as cursor:
        cursor.execute(sql, values)


def fetch_one(sql: str, values: Mapping[str, Any]) -> Row | None:
    with prepared_cursor() as cursor:
        cursor.execute(sql, values)
        row: Row | None = cursor.fetchone()
    return row


def fetch_all(sql: str, values: Mapping[str, Any]) -> list[Row]:
    with prepared_cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[Row] = cursor.fetchall()
    return rows


def limit_statements(seconds: float) -> None:
    """Gives up each statement of this transaction that takes longer, as an OperationalError."""
    execute(_LIMIT, {"limit": f"{seconds * 1000:.0f}ms"})


def columns_of(model: type[models.Model], alias: str) -> str:
    """All columns of a model as SELECT or RETURNING names them, in the order that `row_of` reads."""
    return ", ".join(f"{alias}.{field.column}" for field in model._meta.concrete_fields)


def width_of(model: type[models.Model]) -> int:
    return len(model._meta.concrete_fields)


def row_of[M: models.Model](model: type[M], values: Row) -> M:
    """The instance of these columns, converted as a queryset converts them."""
    names, converters = _reading(model)
    converted = list(values)
    for index, convert in converters:
        converted[index] = convert(converted[index], None, connection)
    return model.from_db(connection.alias, names, converted)


@cache
def _reading(model: type[models.Model]) -> tuple[list[str], list[tuple[int, Any]]]:
    fields = model._meta.concrete_fields
    converters = [(index, getattr(field, "from_db_value", None)) for index, field in enumerate(fields)]
    return [field.attname for field in fields], [(index, convert) for index, convert in converters if convert]
