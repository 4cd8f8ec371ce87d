"""What was known at a moment: an entry, the tasks in the order of the list, and how a version looks

Why: a task, a list and the statistics can be asked for as of any moment.
Safe on a live service: yes. It adds a type and functions, and locks no table. Old code goes on.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

VERSION = """
-- A version of a task: the entry that made it, what it changed, and the task after it (null: deleted).
CREATE TYPE version_answer AS (
    version     integer,
    history_id  uuid,
    action_type text,
    "timestamp" text,
    actor       text,
    request_id  text,
    change_set  text,
    changes     json,
    task        task_answer
);
"""

# Bodies of one SELECT: Postgres puts each in place of the call, where it can.
MOMENTS = """
-- Whether one may ask for a moment: clocks differ, so it may be a little ahead.
CREATE FUNCTION has_come(moment timestamptz) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT moment <= now() + interval '60 seconds'
$$;

-- The last entry that a task had at a moment; none: no row. Its snapshot is the task of then, unless it is DELETED.
CREATE FUNCTION entry_as_of(of_owner text, of_task uuid, moment timestamptz) RETURNS SETOF task_history
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT *
    FROM task_history
    WHERE owner = of_owner
      AND task_id = of_task
      AND timestamp <= moment
    ORDER BY version DESC
    LIMIT 1
$$;

-- Whether more tasks than a walk looks at had been created by a moment.
CREATE FUNCTION exceeds(of_owner text, moment timestamptz, walk bigint) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = of_owner
          AND action_type = 'CREATED'
          AND timestamp <= moment
        ORDER BY timestamp DESC
        OFFSET walk
        LIMIT 1
    )
$$;

-- The tasks that were open at a moment, or complete, the newest first, after a place in that order (null: from the
-- start). It looks at `walk` tasks one by one, and at none after that.
CREATE FUNCTION newest_as_of(
    of_owner text, moment timestamptz, complete boolean, after_created_at timestamptz, after_id uuid, walk bigint
) RETURNS TABLE (is_completed boolean, created_at timestamptz, id uuid, task jsonb)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT complete, created.timestamp, created.task_id, entry.snapshot
    FROM (
        SELECT timestamp, task_id
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = of_owner
          AND action_type = 'CREATED'
          AND timestamp <= least(moment, after_created_at)
          AND (after_id IS NULL OR timestamp < after_created_at OR task_id > after_id)
        ORDER BY timestamp DESC, task_id
        LIMIT walk
    ) AS created
    CROSS JOIN LATERAL entry_as_of(of_owner, created.task_id, moment) AS entry
    WHERE entry.action_type <> 'DELETED'
      AND (entry.snapshot ->> 'is_completed')::boolean = complete
    ORDER BY created.timestamp DESC, created.task_id
$$;
"""

# A call of its own, with settings of its own.
FAR = """
-- A page of all tasks as of a moment, in the order of the list, however few there are in a state: only from what the
-- index knows about each entry, its action. A task that has been restored is looked at.
CREATE FUNCTION far_as_of(
    of_owner text, moment timestamptz, complete boolean,
    after_is_completed boolean, after_created_at timestamptz, after_id uuid, page bigint
) RETURNS TABLE (is_completed boolean, created_at timestamptz, id uuid)
-- Else a plan of a small table would look through all changed tasks for each one.
LANGUAGE sql STABLE PARALLEL SAFE SET enable_nestloop = off SET work_mem = '64MB' AS $$
    SELECT is_completed, created_at, id
    FROM (
        SELECT
            created.timestamp AS created_at,
            created.task_id AS id,
            CASE
                WHEN changed.is_restored THEN (
                    SELECT (snapshot ->> 'is_completed')::boolean
                    FROM entry_as_of(of_owner, created.task_id, moment)
                    WHERE action_type <> 'DELETED'
                )
                WHEN changed.is_deleted THEN NULL
                ELSE coalesce(changed.is_completed, false)
            END AS is_completed
        FROM task_history AS created
        LEFT JOIN (
            SELECT
                task_id,
                bool_or(action_type = 'RESTORED') AS is_restored,
                bool_or(action_type = 'DELETED') AS is_deleted,
                sum(CASE action_type WHEN 'COMPLETED' THEN 1 WHEN 'INCOMPLETED' THEN -1 ELSE 0 END) > 0 AS is_completed
            FROM task_history
            WHERE owner COLLATE "ucs_basic" = of_owner
              AND action_type IN ('COMPLETED', 'INCOMPLETED', 'DELETED', 'RESTORED')
              AND timestamp <= moment
            GROUP BY task_id
        ) AS changed ON changed.task_id = created.task_id
        WHERE created.owner COLLATE "ucs_basic" = of_owner
          AND created.action_type = 'CREATED'
          AND created.timestamp <= least(moment, CASE WHEN complete OR after_is_completed THEN after_created_at END)
        OFFSET 0
    ) AS task
    WHERE coalesce(is_completed = complete, is_completed IS NOT NULL)
      AND (
          after_id IS NULL
          OR is_completed > after_is_completed
          OR is_completed = after_is_completed
             AND (created_at < after_created_at OR created_at = after_created_at AND id > after_id)
      )
    ORDER BY is_completed, created_at DESC, id
    LIMIT page
$$;
"""


def upgrade() -> None:
    for statements in (VERSION, MOMENTS, FAR):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP FUNCTION far_as_of")
    op.execute("DROP FUNCTION newest_as_of")
    op.execute("DROP FUNCTION exceeds")
    op.execute("DROP FUNCTION entry_as_of")
    op.execute("DROP FUNCTION has_come")
    op.execute("DROP TYPE version_answer")
