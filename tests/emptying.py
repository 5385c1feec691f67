"""Emptying the database after a test that committed: twenty times as fast as Django, which truncates every table."""

import shutil
from functools import cache

from django.conf import settings
from django.db import connection, transaction

# What migrating made, and no test changes. Django empties these too, and makes their rows anew each time.
KEPT = {
    *("django_migrations", "django_content_type", "auth_permission"),
    *("auth_group", "auth_group_permissions"),
}
# A table of this size is truncated: what is deleted takes its space until PostgreSQL gets round to it.
BIG_BYTES = 1 << 20


def empty_database(*_: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_statement())
    # Each fetch looks at how big all mirrors are.
    shutil.rmtree(settings.MIRROR_DIR, ignore_errors=True)


@cache
def _statement() -> str:
    """Like TRUNCATE it first waits for whoever still writes, so that nothing of a test is left to the next one."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = sorted(set(names) - KEPT)
    every = ", ".join(tables)
    size = f"SELECT max(pg_relation_size(name::regclass)) FROM unnest(string_to_array('{every}', ', ')) name"  # noqa: S608
    deletes = " ".join(f"IF EXISTS (SELECT FROM {table}) THEN DELETE FROM {table}; END IF;" for table in tables)  # noqa: S608
    return f"""DO $$ BEGIN
        LOCK TABLE {every} IN ACCESS EXCLUSIVE MODE;
        IF ({size}) > {BIG_BYTES} THEN TRUNCATE {every}; ELSE {deletes} END IF;
    END $$"""
