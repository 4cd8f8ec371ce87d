"""Compares the totals with count(*), and repairs a restored database: `python -m taskapi.repair`.

A dump that is loaded into a younger cluster brings transaction ids that are still to come there. These ids decide which
entries the totals have counted. So the entries get an id of the new cluster, and the totals are counted again.

With `--end-cursors`, also every cursor and every tag ends that a client has. That is for a database that has lost its
last transactions, by a point-in-time recovery or a failover: a client may know entries that are gone.
"""

import argparse
import secrets
import sys
from contextlib import closing

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext

from taskapi.database import queries
from taskapi.database.database_url import without_password
from taskapi.errors import ConfigurationError
from taskapi.logs import take_over_prints
from taskapi.migrations import ALL_OWNERS_SQL, LIMITS_SQL, connect
from taskapi.revision import COMMAND
from taskapi.settings import Settings

RENUMBER_SQL = """
LOCK TABLE task_history IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE task_history DISABLE TRIGGER task_history_append_only;
UPDATE task_history
SET transaction_id = pg_current_xact_id()
WHERE transaction_id >= pg_snapshot_xmin(pg_current_snapshot());
ALTER TABLE task_history ENABLE TRIGGER task_history_append_only;
"""

NEWEST_ENTRY_SQL = "SELECT pronamespace::regnamespace::text FROM pg_proc WHERE oid = %s::regprocedure"

NEWEST_ENTRY = "newest_entry(text, pg_snapshot)"

# A position names the newest entry (decision 16). From now on, by another name: no position from before is found.
END_CURSORS_SQL = """
CREATE OR REPLACE FUNCTION {schema}.newest_entry(of_owner text, seen pg_snapshot) RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT md5(concat(history_id, '{life}'))::uuid
    FROM task_history
    WHERE owner COLLATE "POSIX" = of_owner
      AND transaction_id < pg_snapshot_xmax(seen)
      AND pg_visible_in_snapshot(transaction_id, seen)
    ORDER BY transaction_id DESC, timestamp DESC
    LIMIT 1
$$
"""

COUNTED_TOTALS = """
    SELECT
        owner,
        count(*) FILTER (WHERE action_type = 'CREATED') AS created,
        count(*) FILTER (WHERE action_type = 'UPDATED') AS updated,
        count(*) FILTER (WHERE action_type = 'COMPLETED') AS completed,
        count(*) FILTER (WHERE action_type = 'INCOMPLETED') AS incompleted,
        count(*) FILTER (WHERE action_type = 'DELETED') AS deleted,
        count(*) FILTER (WHERE action_type = 'RESTORED') AS restored,
        (SELECT count(*) FROM tasks WHERE tasks.owner = task_history.owner AND is_completed) AS complete
    FROM task_history
    GROUP BY owner
"""

COUNTED_PERIODS = """
    SELECT
        owner,
        length,
        date_bin(length, quarter, 'epoch') AS starts,
        sum(entries)::integer AS entries,
        sum(created)::integer AS created,
        sum(completed)::integer AS completed
    FROM (
        SELECT
            owner,
            date_bin('15 minutes', moment, 'epoch') AS quarter,
            sum(entries) AS entries,
            sum(created) AS created,
            sum(completed) AS completed
        FROM (
            SELECT owner, timestamp AS moment, 1 AS entries, 0 AS created, 0 AS completed FROM task_history
            UNION ALL
            SELECT owner, created_at, 0, 1, 0 FROM tasks
            UNION ALL
            SELECT owner, completed_at, 0, 0, 1 FROM tasks WHERE is_completed
        ) AS happened
        GROUP BY 1, 2
    ) AS quarters
    CROSS JOIN (VALUES (interval '1 day'), ('15 minutes')) AS lengths (length)
    GROUP BY 1, 2, 3
"""

# One statement, and so one snapshot: what the totals say at this moment, and what the tables hold.
WRONG_SQL = f"""
WITH owners AS MATERIALIZED (
    SELECT known.owner, coalesce(upto, '1:1:') AS upto
    FROM (SELECT owner FROM history_totals UNION SELECT owner FROM task_history) AS known
    LEFT JOIN history_totals ON history_totals.owner = known.owner
),
moved AS MATERIALIZED (
    SELECT owners.owner, move.*
    FROM owners, effects(owners.owner, owners.upto) AS move
),
kept AS (
    SELECT
        owner, sum(created), sum(updated), sum(completed), sum(incompleted), sum(deleted), sum(restored), sum(complete)
    FROM (
        SELECT owner, created, updated, completed, incompleted, deleted, restored, complete
        FROM history_totals
        UNION ALL
        SELECT
            owner,
            (action_type = 'CREATED')::integer,
            (action_type = 'UPDATED')::integer,
            (action_type = 'COMPLETED')::integer,
            (action_type = 'INCOMPLETED')::integer,
            (action_type = 'DELETED')::integer,
            (action_type = 'RESTORED')::integer,
            complete
        FROM moved
    ) AS parts
    GROUP BY owner
    -- Who counts where nothing has happened keeps zeros.
    HAVING (sum(created), sum(updated), sum(completed), sum(incompleted), sum(deleted), sum(restored), sum(complete))
        <> (0, 0, 0, 0, 0, 0, 0)
),
kept_periods AS (
    SELECT owner, length, starts, sum(entries), sum(created), sum(completed)
    FROM (
        SELECT owner, length, starts, entries, created, completed
        FROM history_periods
        UNION ALL
        SELECT owner, length, date_bin(length, moment, 'epoch'), entries, created, completed
        FROM (
            SELECT owner, timestamp AS moment, 1 AS entries, 0 AS created, 0 AS completed
            FROM moved
            WHERE timestamp IS NOT NULL
            UNION ALL
            SELECT owner, created_at, 0, tasks, 0 FROM moved WHERE tasks <> 0
            UNION ALL
            SELECT owner, completed_at, 0, 0, complete FROM moved WHERE complete <> 0
        ) AS happened
        CROSS JOIN (VALUES (interval '1 day'), ('15 minutes')) AS lengths (length)
    ) AS parts
    GROUP BY owner, length, starts
    HAVING (sum(entries), sum(created), sum(completed)) <> (0, 0, 0)
),
counted AS ({COUNTED_TOTALS}),
counted_periods AS ({COUNTED_PERIODS})
SELECT owner FROM (TABLE counted EXCEPT TABLE kept) AS missing
UNION
SELECT owner FROM (TABLE kept EXCEPT TABLE counted) AS surplus
UNION
SELECT owner FROM (TABLE counted_periods EXCEPT TABLE kept_periods) AS missing_periods
UNION
SELECT owner FROM (TABLE kept_periods EXCEPT TABLE counted_periods) AS surplus_periods
ORDER BY owner
"""

OWNERS_SQL = "SELECT owner FROM history_totals UNION SELECT owner FROM task_history"

# Meanwhile no read updates the totals.
LOCK_SQL = "LOCK TABLE history_totals IN EXCLUSIVE MODE"

RECOUNT_SQL = f"""
DELETE FROM history_periods;
DELETE FROM history_totals;
INSERT INTO history_totals (owner, created, updated, completed, incompleted, deleted, restored, complete, upto)
SELECT counted.*, pg_current_snapshot() FROM ({COUNTED_TOTALS}) AS counted;
INSERT INTO history_periods (owner, length, starts, entries, created, completed) {COUNTED_PERIODS};
"""


def repair(connection: ext.connection, *, only_check: bool) -> list[str]:
    """Check the history's transaction ids and the totals. Unless `only_check`, repair them, and count what is
    uncounted: after a restore that is everything, for which a read may have too little time.

    Return one sentence for each fault, or an empty list. Raises psycopg2.Error; then a second call does the rest.
    """
    found = []
    with connection.cursor() as cursor:
        cursor.execute(f"{ALL_OWNERS_SQL}; {LIMITS_SQL}")
        cursor.execute(queries.load()["is_rewound"].text)
        if cursor.fetchone()[0]:
            found.append("The history has transaction ids that are still to come in this cluster.")
            wrong = ["all owners"]
            if not only_check:
                cursor.execute(RENUMBER_SQL)
                # Old cursors tell of the old numbers.
                _end_cursors(cursor)
        else:
            cursor.execute(WRONG_SQL)
            wrong = [owner for (owner,) in cursor.fetchall()]
        # Commit before counting: a snapshot sees only finished transactions.
        connection.commit()
        if wrong:
            found.append(f"The totals are not what the history amounts to: {', '.join(wrong)}.")
            if not only_check:
                # So that the totals and the periods are from the same snapshot.
                connection.set_session(isolation_level="REPEATABLE READ")
                cursor.execute(f"{ALL_OWNERS_SQL}; {LIMITS_SQL}")
                cursor.execute(LOCK_SQL)
                cursor.execute(RECOUNT_SQL)
                connection.commit()
        elif not only_check:
            cursor.execute(OWNERS_SQL)
            for (owner,) in cursor.fetchall():
                cursor.execute(f"{ALL_OWNERS_SQL}; {LIMITS_SQL}")
                cursor.execute(queries.load()["fold_totals"].text, {"owner": owner})
                connection.commit()
    return found


def end_cursors(connection: ext.connection) -> None:
    """End every cursor of the changes, and every tag of a list, that tells of an entry. Raises psycopg2.Error."""
    with connection.cursor() as cursor:
        cursor.execute(LIMITS_SQL)
        _end_cursors(cursor)
        connection.commit()


def _end_cursors(cursor: ext.cursor) -> None:
    cursor.execute(NEWEST_ENTRY_SQL, (NEWEST_ENTRY,))
    (schema,) = cursor.fetchone()
    cursor.execute(END_CURSORS_SQL.format(schema=schema, life=secrets.token_hex(16)))


def main() -> int:
    """Print the faults, and whether they are repaired. Return the exit code: 1 if a fault remains."""
    parser = argparse.ArgumentParser("python -m taskapi.repair", description=__doc__)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--check", action="store_true", help="only tell what is wrong; exit with 1 if something is")
    ways.add_argument(
        "--end-cursors", action="store_true", help="also end all cursors and tags, after transactions were lost"
    )
    options = parser.parse_args()
    try:
        settings = Settings.from_environment()
        with closing(connect(settings)) as connection:
            found = repair(connection, only_check=options.check)
            if options.end_cursors:
                end_cursors(connection)
    except ConfigurationError as error:
        print(f"taskapi: {error}", file=sys.stderr)
        return 1
    except psycopg2.errors.InsufficientPrivilege as error:
        print(
            "taskapi: Only the tables' owner may repair, and see all where row-level security is on: use its"
            f" DATABASE_URL: {without_password(error, settings)}",
            file=sys.stderr,
        )
        return 1
    except (psycopg2.errors.UndefinedFunction, psycopg2.errors.UndefinedTable):
        print(f"taskapi: The database's schema is not this version's: run `{COMMAND}` first.", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"taskapi: Not all is repaired; run this again: {without_password(error, settings)}", file=sys.stderr)
        return 1
    for sentence in found:
        print(sentence)
    if not found:
        print("The history and the totals are right.")
    elif options.check:
        print("Run it without --check to repair this.")
    else:
        print("This is repaired.")
    if options.end_cursors:
        print("All cursors and tags that tell of an entry have ended: their clients read the list anew.")
    return int(bool(found) and options.check)


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
