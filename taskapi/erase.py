"""Erases the texts of a deleted task from its history, for good: `python -m taskapi.erase TASK_ID`.

`python -m taskapi.erase --owner OWNER` does so for all tasks of a person, and deletes those that are there first.

Only the owner of the tables can: the history refuses every other change. What happened, when, and who did it, stays.
"""

import argparse
import json
import sys
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext

from taskapi.callers import OWNER, OWNER_RULE, owner_name
from taskapi.database import queries
from taskapi.database.database_url import without_password
from taskapi.errors import ConfigurationError, TaskapiError
from taskapi.logs import take_over_prints
from taskapi.migrations import LIMITS_SQL, LOCK_TIMEOUT_SQL, connect
from taskapi.revision import COMMAND, current, head
from taskapi.settings import Settings

# So that nobody restores the task meanwhile. Reads go on.
LOCK_SQL = "LOCK TABLE task_history IN SHARE ROW EXCLUSIVE MODE"

FIND_SQL = """
SELECT
    count(*) AS entries,
    bool_and(is_erased(task_history)) AS is_erased,
    EXISTS (SELECT FROM tasks WHERE owner = %(owner)s AND id = %(task_id)s::uuid) AS is_there,
    session_user AS role
FROM task_history
WHERE owner = %(owner)s
  AND task_id = %(task_id)s::uuid
"""

PERMIT_SQL = "ALTER TABLE task_history DISABLE TRIGGER task_history_append_only"
FORBID_SQL = "ALTER TABLE task_history ENABLE TRIGGER task_history_append_only"

# The Idempotency-Key and its digest stay: a request that is repeated is still known, and answered without the texts.
ERASE_SQL = """
WITH erasure AS MATERIALIZED (
    SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS moment
)
UPDATE task_history
SET description = 'erased ' || erasure.moment,
    snapshot = snapshot || jsonb_build_object(
        'title', '[erased]',
        'description', CASE WHEN snapshot ->> 'description' IS NOT NULL THEN '[erased]' END
    )
FROM erasure
WHERE owner = %(owner)s
  AND task_id = ANY (%(task_ids)s::uuid[])
  AND NOT is_erased(task_history)
RETURNING erasure.moment
"""

BATCH = 500
"""How many tasks are deleted and erased at once: writes of all owners wait meanwhile."""

# Along the key, so that a batch begins where the last one ended. Tasks that are there have entries, too.
WITH_TEXTS_SQL = """
SELECT DISTINCT task_id
FROM task_history
WHERE owner = %(owner)s
  AND (%(after)s::uuid IS NULL OR task_id > %(after)s::uuid)
  AND NOT is_erased(task_history)
ORDER BY task_id
LIMIT %(most)s
"""

THERE_SQL = """
SELECT id::text
FROM tasks
WHERE owner = %(owner)s
  AND id = ANY (%(task_ids)s::uuid[])
ORDER BY id
FOR UPDATE
"""

# So that nothing is left for the commit: no table with such checks ahead can be altered.
CHECK_NOW_SQL = "SET CONSTRAINTS ALL IMMEDIATE"

KNOWN_SQL = """
SELECT
    EXISTS (SELECT FROM task_history WHERE owner = %(owner)s) AS is_known,
    EXISTS (SELECT FROM task_history WHERE owner = %(owner)s AND NOT is_erased(task_history)) AS goes_on,
    session_user AS role
"""

# Another role might delete tasks, and then not erase them; and where row-level security holds, not see all.
MAY_ERASE_SQL = """
SELECT pg_has_role(relowner, 'USAGE') AND NOT row_security_active(oid)
FROM pg_class
WHERE oid = to_regclass('task_history')
"""


class Refused(TaskapiError):
    """The texts cannot be erased."""


def erase(connection: ext.connection, task_id: UUID, owner: str = OWNER) -> str:
    """Replace each text in the task's entries by a mark. Return a sentence for the log: what was done, and by whom.

    Raises Refused, with what to do, and psycopg2.Error.
    """
    task = {"owner": owner, "task_id": str(task_id), "task_ids": [str(task_id)]}
    _begin(connection)
    with connection.cursor() as cursor:
        cursor.execute(LOCK_TIMEOUT_SQL)
        cursor.execute(LOCK_SQL)
        cursor.execute(FIND_SQL, task)
        entries, is_erased, is_there, role = cursor.fetchone()
        if not entries:
            raise Refused(f"Task {task_id} of {owner} has no history. Nothing was erased.")
        if is_there:
            raise Refused(f"Task {task_id} of {owner} is there: delete it first. Nothing was erased.")
        if is_erased:
            return f"The texts of task {task_id} of {owner} are erased already."
        cursor.execute(PERMIT_SQL)
        cursor.execute(ERASE_SQL, task)
        moment = cursor.fetchone()[0]
        cursor.execute(FORBID_SQL)
    connection.commit()
    return f"The texts of task {task_id} of {owner} are erased: {entries} entries, {moment}, by the role {role}."


def erase_owner(connection: ext.connection, owner: str) -> str:
    """Delete the owner's tasks, and replace each text in their entries by a mark, some tasks at a time. Return a
    sentence for the log.

    It can be run again, and goes on where it was. Raises Refused, and psycopg2.Error.
    """
    _begin(connection)
    deleted = tasks = entries = 0
    task_ids: list[str] = []
    with connection.cursor() as cursor:
        # Once through the key, and not until nothing is left: somebody who goes on writing would keep this busy.
        while not tasks or len(task_ids) == BATCH:
            cursor.execute(LOCK_TIMEOUT_SQL)
            cursor.execute(LOCK_SQL)
            cursor.execute(WITH_TEXTS_SQL, {"owner": owner, "after": task_ids[-1] if task_ids else None, "most": BATCH})
            task_ids = [task_id for (task_id,) in cursor.fetchall()]
            if not task_ids:
                break
            deleted += _delete(cursor, owner, task_ids)
            cursor.execute(PERMIT_SQL)
            cursor.execute(ERASE_SQL, {"owner": owner, "task_ids": task_ids})
            tasks, entries, moment = tasks + len(task_ids), entries + cursor.rowcount, cursor.fetchone()[0]
            cursor.execute(FORBID_SQL)
            connection.commit()
        connection.commit()
        cursor.execute(LIMITS_SQL)
        cursor.execute(KNOWN_SQL, {"owner": owner})
        is_known, goes_on, role = cursor.fetchone()
    if not is_known:
        raise Refused(f"There is nothing of {owner}. Nothing was erased.")
    done = f"The texts of {owner} are erased already."
    if tasks:
        done = (
            f"The texts of {owner} are erased: {tasks} tasks, of which {deleted} were deleted now, {entries} entries,"
            f" {moment}, by the role {role}."
        )
    if goes_on:
        raise Refused(f"{done} Not those that came meanwhile: end this owner's access, then run this again.")
    return done


def _begin(connection: ext.connection) -> None:
    """Raise Refused if the role is not the tables' owner, or the schema not this version's."""
    # Locks may be waited for: what is read behind them must not be older.
    connection.set_session(isolation_level="READ COMMITTED")
    with connection.cursor() as cursor:
        cursor.execute(MAY_ERASE_SQL)
        found = cursor.fetchone()
    if found and not found[0]:
        raise Refused("Only the owner of the tables may erase: use its DATABASE_URL. Nothing was erased.")
    if current(connection) != head():
        raise Refused(f"The database's schema is not this version's: run `{COMMAND}` first. Nothing was erased.")
    connection.commit()


def _delete(cursor: ext.cursor, owner: str, task_ids: list[str]) -> int:
    """Delete those of the tasks that are there. Return how many."""
    cursor.execute(THERE_SQL, {"owner": owner, "task_ids": task_ids})
    elements = [{"id": task_id} for (task_id,) in cursor.fetchall()]
    if elements:
        delete = queries.load()["delete_tasks"]
        of_nobody: dict[str, Any] = dict.fromkeys(delete.parameters)
        cursor.execute(delete.text, {**of_nobody, "owner": owner, "elements": json.dumps(elements)})
        cursor.execute(CHECK_NOW_SQL)
    return len(elements)


def _owner(text: str) -> str:
    try:
        return owner_name(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {OWNER_RULE}") from None


def main() -> int:
    """Print what was done, or why not. Return the exit code: 0 if the texts are erased."""
    parser = argparse.ArgumentParser("python -m taskapi.erase", description=__doc__)
    parser.add_argument("task_id", metavar="TASK_ID", type=UUID, nargs="?", help="a task that was deleted")
    parser.add_argument(
        "--owner", type=_owner, help=f"whose task it was ({OWNER}); without a TASK_ID: all that this owner has"
    )
    options = parser.parse_args()
    if not (options.task_id or options.owner):
        parser.error("give a TASK_ID, or --owner for all that an owner has")
    what = "nothing" if options.task_id else "not all"
    try:
        settings = Settings.from_environment()
        with closing(connect(settings)) as connection:
            if options.task_id:
                print(erase(connection, options.task_id, options.owner or OWNER))
            else:
                print(erase_owner(connection, options.owner))
    except (ConfigurationError, Refused) as error:
        print(f"taskapi: {error}", file=sys.stderr)
    except psycopg2.errors.LockNotAvailable:
        print(f"taskapi: The history stayed locked. {what.capitalize()} was erased; run this again.", file=sys.stderr)
    except psycopg2.Error as error:
        print(f"taskapi: Maybe {what} was erased; run this again: {without_password(error, settings)}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
