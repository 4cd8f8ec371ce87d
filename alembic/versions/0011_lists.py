"""What the filters of the list ask of a task; whether a client's copy of the list is still good

Why: the list is read in pages, with filters, and asked for again with the tag of its last answer.
Safe on a live service: yes. It adds functions, and locks no table. Old code goes on.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Bodies of one SELECT: Postgres puts each in place of the call, where it can.
IS_SELECTED = """
-- Whether a task is one of those asked for; null: any. The regular expression matches somewhere in its title or
-- description. What is asked of its state and of created_at is not here: the statements find that in the index.
CREATE FUNCTION is_selected(
    task tasks, pattern text,
    updated_from timestamptz, updated_before timestamptz,
    completed_from timestamptz, completed_before timestamptz
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Not lower(): in a database with the locale C, it knows ASCII alone.
    SELECT (pattern IS NULL OR task.title ~ pattern OR task.description ~ pattern)
        AND (updated_from IS NULL OR task.updated_at >= updated_from)
        AND (updated_before IS NULL OR task.updated_at < updated_before)
        AND (completed_from IS NULL OR task.completed_at >= completed_from)
        AND (completed_before IS NULL OR task.completed_at < completed_before)
$$;
"""

SELECTED_ENTRIES = """
-- By which of these an entry is found with the fewest looks at others; null: any.
CREATE FUNCTION selection_key(of_task uuid, of_action text, of_actor text, of_request text, of_change_set text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN of_request IS NOT NULL THEN 'request'
        WHEN of_task IS NOT NULL THEN 'task'
        WHEN of_change_set IS NOT NULL THEN 'change set'
        WHEN of_actor IS NOT NULL AND of_action IS NOT NULL THEN 'actor and action'
        WHEN of_actor IS NOT NULL THEN 'actor'
        WHEN of_action IS NOT NULL THEN 'action'
        ELSE 'none'
    END
$$;

-- The keys of the entries that all of these select (null: any), newest first, from `starts` on, and below these sort
-- keys: `most` of them (null: all). Each way to find them has its index, and asks for what that one does not know.
-- Where many entries may be selected, the index knows all, so that they are counted in it alone.
CREATE FUNCTION selected_entries(
    by text, of_owner text, of_task uuid, of_action text, of_actor text, of_request text, of_change_set text,
    starts timestamptz, below_timestamp timestamptz, below_task_id uuid, most bigint, skipped bigint
) RETURNS TABLE ("timestamp" timestamptz, task_id uuid, version integer)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'request'
          AND owner = of_owner
          AND request_id = of_request
          AND (of_task IS NULL OR task_id IS NOT DISTINCT FROM of_task)
          AND (of_action IS NULL OR action_type IS NOT DISTINCT FROM of_action)
          AND (of_actor IS NULL OR actor IS NOT DISTINCT FROM of_actor)
          AND (of_change_set IS NULL OR change_set IS NOT DISTINCT FROM of_change_set)
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
    UNION ALL
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'task'
          AND owner = of_owner
          AND task_id = of_task
          AND (of_action IS NULL OR action_type IS NOT DISTINCT FROM of_action)
          AND (of_actor IS NULL OR actor IS NOT DISTINCT FROM of_actor)
          AND (of_change_set IS NULL OR change_set IS NOT DISTINCT FROM of_change_set)
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
    UNION ALL
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'change set'
          AND owner = of_owner
          AND change_set = of_change_set
          AND (of_action IS NULL OR action_type IS NOT DISTINCT FROM of_action)
          AND (of_actor IS NULL OR actor IS NOT DISTINCT FROM of_actor)
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
    UNION ALL
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'actor and action'
          AND owner = of_owner
          AND actor = of_actor
          AND action_type = of_action
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
    UNION ALL
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'actor'
          AND owner = of_owner
          AND actor = of_actor
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
    UNION ALL
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'action'
          AND owner COLLATE "ucs_basic" = of_owner
          AND action_type = of_action
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
    UNION ALL
    (
        SELECT "timestamp", task_id, version
        FROM task_history
        WHERE by = 'none'
          AND owner COLLATE "POSIX" = of_owner
          AND "timestamp" >= starts
          AND ("timestamp", task_id) < (below_timestamp, below_task_id)
        ORDER BY "timestamp" DESC, task_id DESC
        LIMIT most
        OFFSET skipped
    )
$$;
"""

UNCHANGED_SINCE = """
-- Those of the positions since which nothing of the owner's has changed. On a standby none is: it may be behind.
CREATE FUNCTION unchanged_since(of_owner text, positions text[]) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT known.position
    FROM (
        SELECT
            given AS position,
            split_part(given, '/', 1)::pg_snapshot AS seen,
            nullif(split_part(given, '/', 2), '')::uuid AS newest
        FROM unnest(positions) AS given
    ) AS known
    WHERE NOT pg_is_in_recovery()
      AND NOT EXISTS (SELECT FROM unseen(of_owner, known.seen))
      AND goes_on_from(of_owner, known.seen, known.newest)
$$;
"""


def upgrade() -> None:
    for statements in (IS_SELECTED, SELECTED_ENTRIES, UNCHANGED_SINCE):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP FUNCTION unchanged_since")
    op.execute("DROP FUNCTION selected_entries")
    op.execute("DROP FUNCTION selection_key")
    op.execute("DROP FUNCTION is_selected")
