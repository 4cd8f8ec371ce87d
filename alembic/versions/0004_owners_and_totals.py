"""Each row has an owner; entries know their transaction; totals are kept

Why: room for tasks of many owners, and for what made a change (later versions fill actor, request_id and change_set).
Totals need not be counted anew: the transaction of an entry says whether a total has it already.
Safe on a live service: yes. Every new column has a constant default, so that no row is rewritten; the tables are locked
for some milliseconds, in the order in which the statements of sql/ do. Old code serves on.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LOCK = "LOCK TABLE task_history, tasks IN ACCESS EXCLUSIVE MODE"

COLUMNS = """
ALTER TABLE tasks
    -- Compared byte by byte: it is a key, not a text that people sort.
    ADD COLUMN owner text COLLATE "C" NOT NULL DEFAULT 'default';

ALTER TABLE task_history
    ADD COLUMN owner text COLLATE "C" NOT NULL DEFAULT 'default',
    -- Who made the change, in which request, and to which set of changes the client says that it belongs.
    ADD COLUMN actor text,
    ADD COLUMN request_id text,
    ADD COLUMN change_set text,
    -- What a snapshot of Postgres is compared with. The entries that are there get this transaction's.
    ADD COLUMN transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id();
"""

TOTALS = """
-- The history, folded: how many entries of each action there are, and how many tasks are complete, of what the
-- snapshot `upto` has seen. The exact total is that and the entries which the snapshot has not seen.
CREATE TABLE task_totals (
    owner       text COLLATE "C" PRIMARY KEY,
    upto        pg_snapshot NOT NULL,
    created     bigint      NOT NULL,
    updated     bigint      NOT NULL,
    completed   bigint      NOT NULL,
    incompleted bigint      NOT NULL,
    deleted     bigint      NOT NULL,
    restored    bigint      NOT NULL,
    complete    bigint      NOT NULL
);

-- Of the tasks that exist, how many were created and completed in each quarter of an hour, as of the same snapshot.
-- The midnights of all time zones are at quarters.
CREATE TABLE task_quarters (
    owner     text COLLATE "C" NOT NULL,
    quarter   timestamptz      NOT NULL,
    created   integer          NOT NULL,
    completed integer          NOT NULL,
    PRIMARY KEY (owner, quarter)
);
"""

# A body of one SELECT: Postgres puts it in place of the call.
UNSEEN = """
-- The entries of an owner that a snapshot did not see: those of transactions from its xmax on, and of those that were
-- in progress. The upper bound is always true; with it, the planner expects few rows. One index has the order, and is
-- taken for it, however small the table is.
CREATE FUNCTION unseen(of_owner text, seen pg_snapshot) RETURNS SETOF task_history
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    (
        SELECT *
        FROM task_history
        WHERE owner COLLATE "POSIX" = of_owner
          AND transaction_id >= pg_snapshot_xmax(seen)
          AND transaction_id <= pg_snapshot_xmax(pg_current_snapshot())
        ORDER BY transaction_id
    )
    UNION ALL
    SELECT entry.*
    FROM pg_snapshot_xip(seen) AS in_progress
    CROSS JOIN LATERAL (
        SELECT *
        FROM task_history
        WHERE owner COLLATE "POSIX" = of_owner
          AND transaction_id BETWEEN in_progress AND in_progress
        ORDER BY transaction_id
        OFFSET 0
    ) AS entry
$$;
"""

# In place of the call, too.
DIFFERENCE = """
-- What a change says to people.
CREATE FUNCTION difference(before tasks, after tasks) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT concat_ws(
        '; ',
        CASE WHEN after.title <> before.title
            THEN 'title: ''' || before.title || ''' -> ''' || after.title || ''''
        END,
        CASE WHEN after.description IS DISTINCT FROM before.description
            -- The whole text is in the snapshots; here a person wants to see what it was about.
            THEN 'description: '
                || coalesce('''' || left(before.description, 100)
                    || CASE WHEN char_length(before.description) > 100 THEN '…' ELSE '' END || '''', 'none')
                || ' -> '
                || coalesce('''' || left(after.description, 100)
                    || CASE WHEN char_length(after.description) > 100 THEN '…' ELSE '' END || '''', 'none')
        END,
        CASE WHEN after.is_completed <> before.is_completed
            THEN '''' || after.title || ''': is_completed: '
                || CASE WHEN after.is_completed THEN 'false -> true' ELSE 'true -> false' END
        END
    )
$$;
"""

# Whoever may write the history keeps the totals.
GRANTS = """
DO $do$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'task_history'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON task_totals, task_quarters TO %s', role);
    END LOOP;
END $do$
"""


def upgrade() -> None:
    for statements in (LOCK, COLUMNS, TOTALS, UNSEEN, DIFFERENCE, GRANTS):
        op.execute(statements)


def downgrade() -> None:
    op.execute(LOCK)
    op.execute("DROP FUNCTION difference")
    op.execute("DROP FUNCTION unseen")
    op.execute("DROP TABLE task_quarters")
    op.execute("DROP TABLE task_totals")
    op.execute(
        "ALTER TABLE task_history DROP COLUMN transaction_id, DROP COLUMN change_set, DROP COLUMN request_id,"
        " DROP COLUMN actor, DROP COLUMN owner"
    )
    op.execute("ALTER TABLE tasks DROP COLUMN owner")
