"""Erases the texts of a deleted task from its history, for good: `python -m taskapi.erase TASK_ID`.

Only the owner of the tables can: the history refuses every other change. What happened, when, and who did it, stays.
"""

import argparse
import sys
from contextlib import closing
from uuid import UUID

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext

from taskapi.database.database_url import without_password
from taskapi.errors import ConfigurationError, TaskapiError
from taskapi.logs import take_over_prints
from taskapi.migrations import LOCK_TIMEOUT_SQL, connect
from taskapi.repository.base import OWNER
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
  AND task_id = %(task_id)s::uuid
  AND NOT is_erased(task_history)
RETURNING erasure.moment
"""


class Refused(TaskapiError):
    """The task's texts cannot be erased."""


def erase(connection: ext.connection, task_id: UUID, owner: str = OWNER) -> str:
    """Replace each text in the task's entries by a mark. Return a sentence for the log: what was done, and by whom.

    Raises Refused, with what to do, and psycopg2.Error.
    """
    task = {"owner": owner, "task_id": str(task_id)}
    # The lock may be waited for: what is read behind it must not be older.
    connection.set_session(isolation_level="READ COMMITTED")
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


def main() -> int:
    """Print what was done, or why not. Return the exit code: 0 if the texts are erased."""
    parser = argparse.ArgumentParser("python -m taskapi.erase", description=__doc__)
    parser.add_argument("task_id", metavar="TASK_ID", type=UUID, help="a task that was deleted")
    parser.add_argument("--owner", default=OWNER, help="whose task it was (%(default)s)")
    options = parser.parse_args()
    try:
        settings = Settings.from_environment()
        with closing(connect(settings)) as connection:
            print(erase(connection, options.task_id, options.owner))
    except (ConfigurationError, Refused) as error:
        print(f"taskapi: {error}", file=sys.stderr)
    except psycopg2.errors.InsufficientPrivilege as error:
        print(
            "taskapi: Only the owner of the tables may erase: use its DATABASE_URL. Nothing was erased:"
            f" {without_password(error, settings)}",
            file=sys.stderr,
        )
    except psycopg2.errors.LockNotAvailable:
        print("taskapi: The history stayed locked. Nothing was erased; run this again.", file=sys.stderr)
    except psycopg2.Error as error:
        print(
            f"taskapi: Maybe nothing was erased; run this again: {without_password(error, settings)}", file=sys.stderr
        )
    else:
        return 0
    return 1


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
