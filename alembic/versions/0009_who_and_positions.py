"""How an entry looks is a type; what changed since a version; positions in the history; a deleted task may return

Why: each entry says who made the change, in which request and as part of which change set. A 412 tells what changed
meanwhile. A position is what somebody has seen of the history. An undo puts a deleted task back.
Safe on a live service: yes. It adds functions, replaces one, and locks no table. Old code goes on.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Bodies of one SELECT: Postgres puts each in place of the call, where it can.
ENTRY = """
CREATE TYPE entry_answer AS (
    history_id  uuid,
    task_id     uuid,
    action_type text,
    description text,
    "timestamp" text,
    task_title  text,
    version     integer,
    actor       text,
    request_id  text,
    change_set  text
);

-- The title is that after the change; of a deleted task, its last.
CREATE FUNCTION answer(entry task_history) RETURNS entry_answer LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ROW(
        entry.history_id,
        entry.task_id,
        entry.action_type,
        entry.description,
        to_char(entry.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        entry.snapshot ->> 'title',
        entry.version,
        entry.actor,
        entry.request_id,
        entry.change_set
    )::entry_answer
$$;
"""

CHANGES_SINCE = """
-- What happened to a task after the newest of these versions that it had, for people: the three latest changes, the
-- last one first. Null where it never had one of them.
CREATE FUNCTION changes_since(task tasks, versions integer[]) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT string_agg(said, '; ' ORDER BY place DESC)
        || CASE WHEN max(missed) > 3 THEN '; and ' || max(missed) - 3 || ' more' ELSE '' END
    FROM (
        SELECT
            entry.version AS place,
            entry.description || ' (' || concat_ws(
                ', ',
                entry.actor,
                to_char(entry.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            ) || ')' AS said,
            task.version - known.version AS missed
        FROM (SELECT max(version) AS version FROM unnest(versions) AS version WHERE version < task.version) AS known
        JOIN task_history AS entry
            ON entry.owner = task.owner
            AND entry.task_id = task.id
            AND entry.version > known.version
            AND entry.version > task.version - 3
            AND entry.version <= task.version
    ) AS change
$$;
"""

POSITIONS = """
-- The newest entry that a snapshot sees, in the order of the transactions; none: no row.
CREATE FUNCTION newest_entry(of_owner text, seen pg_snapshot) RETURNS SETOF uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT history_id
    FROM task_history
    WHERE owner COLLATE "POSIX" = of_owner
      AND transaction_id < pg_snapshot_xmax(seen)
      AND pg_visible_in_snapshot(transaction_id, seen)
    ORDER BY transaction_id DESC, timestamp DESC
    LIMIT 1
$$;

-- What the running statement sees of an owner's history: its snapshot, and the newest entry. Null on a standby, whose
-- snapshots leave out what is in progress.
CREATE FUNCTION position_now(of_owner text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN NOT pg_is_in_recovery() THEN concat(
            pg_current_snapshot(), '/', (SELECT * FROM newest_entry(of_owner, pg_current_snapshot()))
        )
    END
$$;

-- Whether this database is still the one in which a position was taken: no snapshot of it is later, and the newest
-- entry that the snapshot sees is the same one. It is another one, or none, after a restore or a failover in which
-- transactions were lost and their numbers given away again.
CREATE FUNCTION goes_on_from(of_owner text, seen pg_snapshot, newest uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_snapshot_xmax(seen) <= pg_snapshot_xmax(pg_current_snapshot())
        AND (SELECT * FROM newest_entry(of_owner, seen)) IS NOT DISTINCT FROM newest
$$;
"""

# As in the migration that made it, but for the rule about later versions.
TASKS_INSERTED = r"""
DO $do$
DECLARE
    schema text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tasks'::regclass);
BEGIN

EXECUTE format($format$
CREATE OR REPLACE FUNCTION tasks_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM %1$s.task_history
    WHERE owner = NEW.owner AND task_id = NEW.id AND version = NEW.version;
    IF FOUND AND NEW.version <> 1 THEN
        -- A task that returns, or a row of a dump: all entries are there, and it is as the last of them left it.
        PERFORM FROM (
            SELECT version, action_type, lag(action_type) OVER (ORDER BY version) AS before
            FROM %1$s.task_history
            WHERE owner = NEW.owner AND task_id = NEW.id
        ) AS entry
        HAVING max(version) = NEW.version
           AND count(*) = NEW.version
           AND bool_and((action_type = 'RESTORED') = (coalesce(before, '') = 'DELETED'))
           AND bool_or(version = NEW.version AND action_type <> 'DELETED');
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the INSERT of task %% has no entry %% in task_history', NEW.id, NEW.version
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Write the entry in the same transaction, as the statements in sql/tasks.sql do;'
                         ' load a dump of the data in one: psql or pg_restore with --single-transaction.';
    END IF;
    -- What a dump or an undo brings back is older than its transaction, and may have a title that was allowed once.
    IF NEW.created_at >= now() AND NOT %1$s.is_visible(NEW.title) THEN
        RAISE EXCEPTION 'the title of task %% has no visible character', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tasks_title_visible', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
$format$, schema);

END $do$;
"""

BEFORE = TASKS_INSERTED.replace(
    """        -- A task that returns, or a row of a dump: all entries are there, and it is as the last of them left it.
        PERFORM FROM (
            SELECT version, action_type, lag(action_type) OVER (ORDER BY version) AS before
            FROM %1$s.task_history
            WHERE owner = NEW.owner AND task_id = NEW.id
        ) AS entry
        HAVING max(version) = NEW.version
           AND count(*) = NEW.version
           AND bool_and((action_type = 'RESTORED') = (coalesce(before, '') = 'DELETED'))
           AND bool_or(version = NEW.version AND action_type <> 'DELETED');
""",
    """        -- A row of a dump: its entries are all there, and it is as the last of them left it.
        PERFORM FROM %1$s.task_history
        WHERE owner = NEW.owner AND task_id = NEW.id
        HAVING max(version) = NEW.version AND count(*) = NEW.version AND bool_and(action_type <> 'DELETED');
""",
).replace("What a dump or an undo brings back", "What a dump brings back")


def upgrade() -> None:
    for statements in (ENTRY, CHANGES_SINCE, POSITIONS, TASKS_INSERTED):
        op.execute(statements)


def downgrade() -> None:
    op.execute(BEFORE)
    op.execute("DROP FUNCTION goes_on_from")
    op.execute("DROP FUNCTION position_now")
    op.execute("DROP FUNCTION newest_entry")
    op.execute("DROP FUNCTION changes_since")
    op.execute("DROP FUNCTION answer(task_history)")
    op.execute("DROP TYPE entry_answer")
