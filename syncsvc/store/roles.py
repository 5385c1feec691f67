"""The application's role in PostgreSQL: it reads and writes rows, and nothing else.

Tables belong to another role, the owner, as which `manage.py migrate` logs in (DATABASE_OWNER_URL). Nothing here locks
rows. Called by `migrate`, and where the embedded server starts.
"""

from psycopg import Connection, sql

# No application needs more. A superuser could read the server's files and run programs.
CREATE = "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
CHANGE = "ALTER ROLE {} PASSWORD {}"

# Whether a role exists. Locks nothing. Called by `role_exists`.
_EXISTS = "SELECT FROM pg_roles WHERE rolname = %s"
# Whether the present role may make others. Locks nothing. Called by `may_make_roles`.
_MAY_MAKE = "SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)"
# The schema and database, and whether the present role owns the latter. Locks nothing. Called by `grant_rows`.
_HERE = """
SELECT current_schema(), datname, pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()
"""
# Tables and sequences of the present role; another program's are left alone. Locks nothing. Called by `grant_rows`.
_OWN = """
SELECT relname, relkind = 'S' FROM pg_class
WHERE relowner = current_user::regrole AND relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'S')
"""
GRANTS = (
    "GRANT CONNECT ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON {schema}.django_migrations FROM {role}",
)
# What every role may do unless it is taken away; only the database's owner can.
OF_EVERYBODY = (
    "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
)


def make_role(connection: Connection, name: str, password: str) -> None:
    """Makes the role, or gives it this password. The server and its log see the verifier alone, not the password."""
    statement = CHANGE if role_exists(connection, name) else CREATE
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(verifier)))


def role_exists(connection: Connection, name: str) -> bool:
    return bool(connection.execute(_EXISTS, [name]).rowcount)


def may_make_roles(connection: Connection) -> bool:
    """Whether the role that is logged in may make others."""
    return bool(connection.execute(_MAY_MAKE).rowcount)


def grant_rows(connection: Connection, name: str) -> None:
    """Lets the role read and write the rows of all tables that the present role has, or will make, in its schema."""
    found = connection.execute(_HERE).fetchone()
    assert found is not None  # noqa: S101 - the database that we are logged in to exists
    schema, database, owns_database = found
    names = {key: sql.Identifier(value) for key, value in (("schema", schema), ("database", database), ("role", name))}
    for table, is_sequence in connection.execute(_OWN).fetchall():
        of = "USAGE, SELECT ON SEQUENCE" if is_sequence else "SELECT, INSERT, UPDATE, DELETE ON TABLE"
        grant = sql.SQL("GRANT {of} {schema}.{table} TO {role}")
        connection.execute(grant.format(of=sql.SQL(of), table=sql.Identifier(table), **names))
    for statement in GRANTS + (OF_EVERYBODY if owns_database else ()):
        connection.execute(sql.SQL(statement).format(**names))
