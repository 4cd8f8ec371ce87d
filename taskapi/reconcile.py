"""Checks each step of the history, and its end against the tasks and the totals: `python -m taskapi.reconcile`.

It only reads, all of it from one snapshot. It names tasks, versions and fields, never a text.
"""

import argparse
import sys
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext

from taskapi.database.database_url import without_password
from taskapi.errors import ConfigurationError
from taskapi.logs import take_over_prints
from taskapi.migrations import ALL_OWNERS_SQL, LIMITS_SQL, connect
from taskapi.repair import repair
from taskapi.settings import Settings

MOST_NAMED = 100
"""How many faults are named. The others are counted."""

PLANNING_SQL = "SET LOCAL enable_hashjoin = off"
"""The tables are read in the order of their keys. A hash of the one would write the other to temporary files."""

COUNT_SQL = "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM task_history)"


def different_fields(one: str, other: str) -> str:
    """The SQL for the names of the fields in which two tasks, as jsonb, differ; null for none."""
    return f"""(
        SELECT string_agg(key, ', ' ORDER BY key)
        FROM jsonb_each({one}) AS one
        FULL JOIN jsonb_each({other}) AS other USING (key)
        WHERE one.value IS DISTINCT FROM other.value
    )"""


# Read from top to bottom:
#   entries    what is compared; times are compared as the text that snapshots have, so that no cast can fail
#   chains     each entry and the one before it
#   compared   the last entry of a task, and its row, too
#   faults     what is wrong with each entry, and the tasks that have none
# Most fields can only move in one way, or go back: an undo and a restoration give a field a value that it had before.
FAULTS_SQL = f"""
WITH entries AS (
    SELECT
        owner,
        task_id,
        version,
        action_type::text AS action,
        timestamp,
        to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS moment,
        CASE jsonb_typeof(snapshot) WHEN 'object' THEN snapshot ELSE '{{}}' END AS snapshot,
        is_erased(task_history) AS is_erased
    FROM task_history
),
chains AS (
    SELECT
        owner, task_id, version, action, timestamp, moment, snapshot, is_erased,
        lag(version) OVER chain AS version_before,
        lag(action) OVER chain AS action_before,
        lag(timestamp) OVER chain AS timestamp_before,
        lag(snapshot) OVER chain AS before,
        lag(is_erased) OVER chain AS was_erased,
        lead(version) OVER chain IS NULL AS is_last
    FROM entries
    WINDOW chain AS (PARTITION BY owner, task_id ORDER BY version)
),
compared AS (
    SELECT
        chains.owner, task_id, chains.version, action, timestamp, moment, chains.snapshot, is_erased,
        version_before, action_before, timestamp_before, before, was_erased, is_last,
        CASE version_before WHEN chains.version - 1 THEN
            action <> 'CREATED' AND (action = 'RESTORED') = (action_before = 'DELETED')
        END AS may_follow,
        CASE chains.version WHEN 1 THEN moment ELSE coalesce(before, chains.snapshot) ->> 'created_at' END AS creation,
        concat(before ->> 'is_completed', ' -> ', chains.snapshot ->> 'is_completed') AS state,
        task.version AS task_version,
        task.snapshot AS task
    FROM chains
    LEFT JOIN (SELECT owner, id, version, to_jsonb(answer(tasks)) AS snapshot FROM tasks) AS task
        ON is_last
        AND task.owner = chains.owner
        AND task.id = chains.task_id
),
faults AS (
    SELECT
        owner,
        task_id,
        version,
        concat_ws(
            '; ',
            CASE
                WHEN version <> coalesce(version_before, 0) + 1 THEN 'the entry before it is missing'
                WHEN version = 1 AND action <> 'CREATED' THEN action || ' comes first'
                WHEN NOT may_follow THEN action || ' follows ' || action_before
            END,
            CASE WHEN timestamp <= timestamp_before THEN 'its time is not later than that of the entry before it' END,
            CASE
                WHEN is_erased <> was_erased THEN 'only a part of the task is erased'
                WHEN is_erased AND (
                    snapshot ->> 'title' <> '[erased]' OR snapshot ->> 'description' <> '[erased]'
                ) THEN 'it is erased, and has texts'
            END,
            'its snapshot has a wrong ' || nullif(concat_ws(
                ', ',
                CASE WHEN snapshot ->> 'id' IS DISTINCT FROM task_id::text THEN 'id' END,
                CASE WHEN jsonb_typeof(snapshot -> 'title') IS DISTINCT FROM 'string' THEN 'title' END,
                CASE
                    WHEN jsonb_typeof(snapshot -> 'description') IN ('string', 'null') THEN NULL
                    ELSE 'description'
                END,
                CASE WHEN snapshot ->> 'created_at' IS DISTINCT FROM creation THEN 'created_at' END,
                CASE
                    WHEN snapshot ->> 'updated_at' IS DISTINCT FROM moment AND action <> 'DELETED' THEN 'updated_at'
                END,
                CASE
                    WHEN jsonb_typeof(snapshot -> 'completed_at') = 'null' THEN
                        CASE WHEN snapshot -> 'is_completed' IS DISTINCT FROM 'false' THEN 'is_completed' END
                    WHEN jsonb_typeof(snapshot -> 'completed_at') = 'string' THEN
                        CASE WHEN snapshot -> 'is_completed' IS DISTINCT FROM 'true' THEN 'is_completed' END
                    ELSE 'completed_at'
                END
            ), ''),
            CASE
                WHEN action = 'CREATED' AND snapshot -> 'is_completed' = 'true' THEN 'CREATED completes it'
                WHEN NOT coalesce(may_follow, false) THEN NULL
                WHEN action = 'COMPLETED' AND state <> 'false -> true' THEN 'COMPLETED does not complete it'
                WHEN action = 'INCOMPLETED' AND state <> 'true -> false' THEN 'INCOMPLETED does not reopen it'
                WHEN action = 'UPDATED' AND snapshot -> 'is_completed' <> before -> 'is_completed' THEN
                    'UPDATED changes is_completed'
                WHEN action = 'UPDATED' AND snapshot - 'updated_at' = before - 'updated_at' AND NOT is_erased THEN
                    'UPDATED changes nothing'
                WHEN action = 'DELETED' AND snapshot <> before THEN
                    'DELETED changes ' || {different_fields("snapshot", "before")}
                WHEN action <> 'DELETED' THEN action || ' gives a new value to ' || (
                    SELECT string_agg(field, ', ')
                    FROM unnest(ARRAY['title', 'description', 'completed_at']) AS field
                    WHERE snapshot -> field <> before -> field
                      AND CASE
                          WHEN field <> 'completed_at' THEN action <> 'UPDATED'
                          ELSE snapshot ->> field <> moment OR action <> 'COMPLETED'
                      END
                      AND NOT EXISTS (
                          SELECT
                          FROM task_history AS earlier
                          WHERE earlier.owner = compared.owner
                            AND earlier.task_id = compared.task_id
                            AND earlier.version < compared.version
                            AND earlier.snapshot -> field = compared.snapshot -> field
                      )
                )
            END,
            CASE
                WHEN NOT is_last THEN NULL
                WHEN (action = 'DELETED') <> (task IS NULL) THEN
                    CASE WHEN task IS NULL THEN 'the task is not there' ELSE 'the task is there' END
                WHEN task <> snapshot OR task_version <> version THEN 'the task has another ' || concat_ws(
                    ', ',
                    {different_fields("task", "snapshot")},
                    CASE WHEN task_version <> version THEN 'version' END
                )
            END
        ) AS fault
    FROM compared
    UNION ALL
    SELECT owner, id, version, 'the task has no history'
    FROM tasks
    WHERE NOT EXISTS (SELECT FROM task_history WHERE task_history.owner = tasks.owner AND task_id = tasks.id)
)
SELECT owner, task_id, version, fault, count(*) OVER () AS faults
FROM faults
WHERE fault <> ''
ORDER BY owner, task_id, version
LIMIT %(most)s
"""


@dataclass(frozen=True)
class Account:
    """What was compared, and a sentence for each fault."""

    tasks: int
    entries: int
    faults: list[str]


def reconcile(connection: ext.connection) -> Account:
    """Replay the history of all owners, and compare it with the tasks and with the totals. Raises psycopg2.Error."""
    # So that everything is from the same snapshot.
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection.cursor() as cursor:
        cursor.execute(f"{PLANNING_SQL}; {ALL_OWNERS_SQL}; {LIMITS_SQL}")
        cursor.execute(COUNT_SQL)
        tasks, entries = cursor.fetchone()
        cursor.execute(FAULTS_SQL, {"most": MOST_NAMED})
        rows = cursor.fetchall()
    faults = [f"Task {task_id} of {owner}, version {version}: {fault}." for owner, task_id, version, fault, _ in rows]
    if rows and (more := rows[0][-1] - len(rows)):
        faults.append(f"The same of {more:,} more entries.")
    try:
        faults += repair(connection, only_check=True)
    except psycopg2.DataError:
        # It reads times from the snapshots, and one of those above has none.
        faults.append("The totals cannot be compared before this is repaired.")
    return Account(tasks, entries, faults)


def main() -> int:
    """Print the faults, or that there are none. Return the exit code: 1 for faults, 2 if it could not look."""
    argparse.ArgumentParser("python -m taskapi.reconcile", description=__doc__).parse_args()
    try:
        settings = Settings.from_environment()
        with closing(connect(settings)) as connection:
            account = reconcile(connection)
    except ConfigurationError as error:
        print(f"taskapi: {error}", file=sys.stderr)
        return 2
    except psycopg2.errors.InsufficientPrivilege as error:
        print(
            "taskapi: Where row-level security is on, only the tables' owner sees all: use its DATABASE_URL:"
            f" {without_password(error, settings)}",
            file=sys.stderr,
        )
        return 2
    except psycopg2.Error as error:
        print(f"taskapi: The history could not be compared: {without_password(error, settings)}", file=sys.stderr)
        return 2
    for sentence in account.faults:
        print(sentence)
    compared = f"{account.tasks:,} tasks and {account.entries:,} entries were compared"
    if account.faults:
        print(f"{compared}; the above is wrong.")
    else:
        print(f"{compared}: tasks and totals are what the history amounts to.")
    return int(bool(account.faults))


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
