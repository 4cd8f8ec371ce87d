"""Makes the role that the service runs as: it owns nothing, and row-level security holds for it.

`python -m taskapi.role NAME`, with DATABASE_URL of the tables' owner. Without NAME, it only tells whether row-level
security holds for the role of DATABASE_URL.
"""

import argparse
import os
import re
import secrets
import sys
from contextlib import closing
from dataclasses import replace

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext

from taskapi.database import queries
from taskapi.database.database_url import url_as, without_password
from taskapi.errors import ConfigurationError, NotSecured, TaskapiError
from taskapi.logs import take_over_prints
from taskapi.migrations import LIMITS_SQL, LOCK_TIMEOUT_SQL, connect
from taskapi.revision import COMMAND, VERSION_TABLE, current, head
from taskapi.settings import Settings

RIGHTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO {role}",
    "GRANT SELECT, INSERT ON task_history TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON history_totals, history_periods TO {role}",
    f"GRANT SELECT ON {VERSION_TABLE} TO {{role}}",
    "GRANT EXECUTE ON FUNCTION owners_with_news TO {role}",
)
"""What the service needs. A role that was there before keeps what else it may do."""

SECURED = ("tasks", "task_history", "history_totals", "history_periods", "task_totals", "task_quarters")
"""The tables whose rows have an owner."""

SECURE_SQL = "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"

IS_SECURED_SQL = "SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass"

# Exempt are those for whom row-level security does not hold, whatever the tables say.
LOOK_SQL = """
SELECT
    relnamespace::regnamespace::text AS schema,
    quote_ident(current_database()) AS database,
    pg_has_role(relowner, 'USAGE') AS is_owner,
    (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may_create,
    role.oid IS NOT NULL AS is_there,
    coalesce(
        pg_has_role(role.oid, relowner, 'MEMBER')
        OR EXISTS (
            SELECT FROM pg_roles AS other
            WHERE (other.rolsuper OR other.rolbypassrls) AND pg_has_role(role.oid, other.oid, 'MEMBER')
        ),
        false
    ) AS is_exempt
FROM pg_class
LEFT JOIN pg_roles AS role ON rolname = %(name)s
WHERE pg_class.oid = 'tasks'::regclass
"""

TURN_SQL = "SELECT pg_advisory_xact_lock(7225820101)"
"""Whoever starts the service also makes its role: two that grant the same at once would fail. Migrations take the same
lock."""

# Not the password's digest, which Neon refuses. The role may not find the tables where their owner finds them.
CREATE_SQL = (
    "CREATE ROLE {role} LOGIN PASSWORD {password}",
    "ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema}",
)

# The first one is refused, where it is, before a password is sent, which the server would write into its log.
PASSWORD_SQL = ("ALTER ROLE {role} LOGIN", "ALTER ROLE {role} PASSWORD {password}")

VERIFIER = re.compile(r"md5[0-9a-f]{32}\Z|SCRAM-SHA-256\$")
"""What PostgreSQL takes for the digest of a password, and not for a password."""

IS_THERE_SQL = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"

# A right that one may not give is only a warning.
MAY_LOOK_SQL = "SELECT has_schema_privilege(%s, relnamespace, 'USAGE') FROM pg_class WHERE oid = 'tasks'::regclass"

ONLY_OWNER = "Only the owner of the tables may do this: use its DATABASE_URL."

LONGEST = 63
"""Bytes of a role's name: PostgreSQL cuts off the rest."""

RESERVED = re.compile(r"pg_|(public|none)\Z")


class Refused(TaskapiError):
    """The role cannot be made, or is none that row-level security holds for."""


def make_role(connection: ext.connection, name: str, given: str | None = None) -> str | None:
    """Turn row-level security on. Make the role, or take one that is there, and give it its rights and the password
    that is `given`; without that, a new role gets a random one. Return the new password; None if it keeps its own.

    It can be run again at any time, and also after a part of it. Raises Refused, with what to do, and psycopg2.Error.
    """
    if not (name.isprintable() and 1 <= len(name.encode()) <= LONGEST) or RESERVED.match(name):
        raise Refused(f"NAME must be 1 to {LONGEST} printable bytes, and not begin with pg_, nor be public or none.")
    connection.set_session(isolation_level="READ COMMITTED")
    with connection.cursor() as cursor:
        cursor.execute(LIMITS_SQL)
        if current(connection) != head():
            raise Refused(f"The database's schema is not this version's: run `{COMMAND}` first.")
        cursor.execute(LOOK_SQL, {"name": name})
        schema, database, is_owner, may_create, is_there, is_exempt = cursor.fetchone()
        connection.commit()
        _check(name, is_owner, may_create or is_there, is_exempt)
        for table in SECURED:
            # A table at a time: no transaction waits for one lock and holds another.
            cursor.execute(LOCK_TIMEOUT_SQL)
            cursor.execute(IS_SECURED_SQL, (table,))
            if not cursor.fetchone()[0]:
                cursor.execute(SECURE_SQL.format(table=table))
            connection.commit()
        # Last, and at once: who has the password has a role that can serve.
        cursor.execute(LOCK_TIMEOUT_SQL)
        cursor.execute(TURN_SQL)
        cursor.execute(IS_THERE_SQL, (name,))
        is_there = cursor.fetchone()[0]
        password = given or (None if is_there else secrets.token_urlsafe(24))
        first = PASSWORD_SQL if is_there else CREATE_SQL
        role, literal = ext.quote_ident(name, connection), cursor.mogrify("%s", (password,)).decode()
        try:
            for statement in first if password else ():
                cursor.execute(
                    statement.format(role=role, password=literal, schema=schema, database=database),
                )
        except psycopg2.errors.InsufficientPrivilege:
            raise Refused(
                f"The role of DATABASE_URL may not give {name} a password: let the role that made it do that."
            ) from None
        for statement in RIGHTS:
            cursor.execute(statement.format(role=role, schema=schema))
        cursor.execute(MAY_LOOK_SQL, (name,))
        if not cursor.fetchone()[0]:
            raise Refused(
                f"The tables' owner may not let {name} into the schema {schema}: let the schema's owner run GRANT USAGE"
                " ON SCHEMA … TO the tables' owner WITH GRANT OPTION, and run this again."
            )
        connection.commit()
    return password


def is_held(settings: Settings) -> bool:
    """Whether row-level security holds for the role of DATABASE_URL. Raises psycopg2.Error."""
    with closing(connect(settings)) as connection, connection.cursor() as cursor:
        cursor.execute(queries.load()["schema_version"].text)
        _, _, is_secured, _ = cursor.fetchone()
        return bool(is_secured)


def warning(settings: Settings) -> str | None:
    """What is wrong with the role, for a log at the start.

    None where row-level security holds or is not needed, and where the database cannot be asked, which others tell of.
    """
    try:
        return None if not settings.takes_jwts or is_held(settings) else NotSecured.sentence
    except psycopg2.Error:
        return None


def settings_as(settings: Settings, name: str) -> Settings:
    """The settings for serving as this role, which is made where it is not there: without a password, for a server that
    asks for none. Raises Refused, with what to do.
    """
    try:
        with closing(connect(settings)) as connection:
            make_role(connection, name)
    except psycopg2.Error as error:
        raise Refused(f"The role {name} is not ready: {without_password(error, settings)}") from None
    return replace(settings, database_url=url_as(settings, name))


def _check(name: str, is_owner: bool, can_be_there: bool, is_exempt: bool) -> None:
    if not is_owner:
        raise Refused(ONLY_OWNER)
    if is_exempt:
        raise Refused(
            f"Row-level security would not hold for {name}: it is a superuser, has BYPASSRLS, or is a member of such a"
            " role or of the tables' owner. Choose another name, which is made."
        )
    if not can_be_there:
        raise Refused(
            f"The role of DATABASE_URL may not make roles. Let one with CREATEROLE run CREATE ROLE for {name}, then run"
            " this again: it gives the role its rights."
        )


def main() -> int:
    """Print what was done, and a new role's DATABASE_URL, or why not. Return the exit code: 0 if the role is there."""
    parser = argparse.ArgumentParser("python -m taskapi.role", description=__doc__)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the role: a new one, or one that is to have these rights"
    )
    parser.add_argument(
        "--password-from",
        metavar="VARIABLE",
        help="the environment variable that has the role's password, also for a role that is there; it is not printed",
    )
    arguments = parser.parse_args()
    name, variable = arguments.name, arguments.password_from
    if variable and name is None:
        parser.error("--password-from needs NAME, the role that gets the password")
    try:
        settings = Settings.from_environment()
        if name is None:
            return _tell(settings)
        given = _password(variable) if variable else None
        with closing(connect(settings)) as connection:
            password = make_role(connection, name, given)
            database = connection.info.dbname
    except (ConfigurationError, Refused) as error:
        print(f"taskapi: {error}", file=sys.stderr)
    except psycopg2.errors.InsufficientPrivilege as error:
        print(f"taskapi: {ONLY_OWNER} {without_password(error, settings)}", file=sys.stderr)
    except psycopg2.errors.LockNotAvailable:
        print("taskapi: A table stayed locked. Run this again; it goes on where it was.", file=sys.stderr)
    except psycopg2.Error as error:
        print(f"taskapi: The role is not ready; run this again: {without_password(error, settings)}", file=sys.stderr)
    else:
        print(f"Row-level security is on, and the role {name} has what the service needs.")
        if given:
            print(f"Its password is now that of {variable}.")
        elif password:
            url = url_as(settings, name, password, database)
            # In quotes for a shell, which would read an & as an end.
            print(f"Serve with this, which is shown only now:\nDATABASE_URL='{url}'")
        else:
            print(
                "It was there before, and keeps its password. For a new one, its maker runs ALTER ROLE … PASSWORD; then"
                f" serve with DATABASE_URL='{url_as(settings, name, 'PASSWORD', database)}'"
            )
        return 0
    return 1


def _password(variable: str) -> str:
    """What the variable has. Raises ConfigurationError."""
    password = os.environ.get(variable, "")
    if not (password and password.isprintable()):
        raise ConfigurationError(f"{variable} must have the role's password: printable characters, in one line.")
    if VERIFIER.match(password):
        raise ConfigurationError(f"{variable} looks like the digest of a password: give the password itself.")
    return password


def _tell(settings: Settings) -> int:
    """Print whether row-level security holds. Return the exit code: 0 if it does."""
    try:
        is_secured = is_held(settings)
    except psycopg2.Error as error:
        print(f"taskapi: The database cannot tell: {without_password(error, settings)}", file=sys.stderr)
        return 1
    if is_secured:
        print("Row-level security holds for the role of DATABASE_URL.")
        return 0
    print(f"taskapi: {NotSecured.sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
