"""Prints all that an owner has, as JSON lines: `python -m taskapi.export OWNER`.

First each task, then each entry of the history, from one moment. It needs only the service's role.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import psycopg2.extensions as ext

from taskapi.callers import OWNER, OWNER_RULE, owner_name
from taskapi.database.database_url import without_password
from taskapi.errors import ConfigurationError, SchemaMismatch
from taskapi.logs import take_over_prints
from taskapi.migrations import LIMITS_SQL, connect
from taskapi.revision import COMMAND, current, head
from taskapi.settings import Settings

PAGE = 1000
"""How many rows are fetched at a time."""

# In the order of the list, and in the order of what happened. `snapshot` is the task after the change; of DELETED, the
# task as it was.
TASKS_SQL = """
SELECT json_build_object('task', row_to_json(answer(tasks)), 'version', version)::text
FROM tasks
WHERE owner COLLATE "POSIX" = %(owner)s::text
ORDER BY is_completed, created_at DESC, id
"""

HISTORY_SQL = """
SELECT json_build_object(
    'entry', row_to_json(answer(task_history)), 'snapshot', row_to_json(answer(snapshot))
)::text
FROM task_history
WHERE owner COLLATE "POSIX" = %(owner)s::text
ORDER BY timestamp, task_id
"""


def export(connection: ext.connection, owner: str) -> Iterator[str]:
    """Each line of the export. There is none for an owner who has nothing. Raises SchemaMismatch and psycopg2.Error."""
    # One snapshot for both: the tasks are what the entries amount to.
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection.cursor() as cursor:
        cursor.execute(LIMITS_SQL)
        cursor.execute("SELECT set_config('app.owner', %(owner)s, true)", {"owner": owner})
    if current(connection) != head():
        raise SchemaMismatch(f"The database's schema is not this version's: run `{COMMAND}` first.")
    for name, statement in (("tasks", TASKS_SQL), ("entries", HISTORY_SQL)):
        with connection.cursor(name) as cursor:
            cursor.itersize = PAGE
            cursor.execute(statement, {"owner": owner})
            for (line,) in cursor:
                yield line


def main() -> int:
    """Write the lines to stdout, and how many there were, or what went wrong, to stderr. Return the exit code: 0 if all
    were written; 1 if there is nothing of this owner, or not all of it was written.
    """
    parser = argparse.ArgumentParser("python -m taskapi.export", description=__doc__)
    parser.add_argument("owner", metavar="OWNER", help=f"whose tasks and history; without sign-in, {OWNER}")
    owner, lines = parser.parse_args().owner, 0
    try:
        owner_name(owner)
    except ValueError:
        return _failed(f"OWNER must be {OWNER_RULE}.")
    if sys.__stdout__ is None:
        return _failed("Nothing was written: stdout is closed.")
    try:
        settings = Settings.from_environment()
        with closing(connect(settings)) as connection, os.fdopen(1, "wb", closefd=False) as out:
            for line in export(connection, owner):
                out.write(line.encode() + b"\n")
                lines += 1
    except (ConfigurationError, SchemaMismatch) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"Not all was written: {error.strerror}.")
    except psycopg2.Error as error:
        return _failed(f"Not all was written; run this again: {without_password(error, settings)}")
    if not lines:
        return _failed(f"There is nothing of {owner}.")
    print(f"taskapi: {lines} lines of {owner}.", file=sys.stderr)
    return 0


def _failed(sentence: str) -> int:
    print(f"taskapi: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    # The lines themselves wait for their reader: it is to have all of them.
    take_over_prints()
    sys.exit(main())
