"""Very many rows, made by the database."""

from django.db import connection, models


def copy_rows(model: type[models.Model], count: int, **columns: str) -> None:
    """Copies a table's rows `count` times each; `columns` are SQL for what must differ, with `n` from 1 to `count`."""
    names = [field.column for field in model._meta.concrete_fields if not field.generated]
    named = ", ".join(names)
    values = ", ".join(columns.get(name, f"original.{name}") for name in names)
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({named}) SELECT {values} FROM {table} AS original, generate_series(1, %s) AS n",  # noqa: S608
            [count],
        )
