"""What an entry changes about the totals does not depend on its action

Why: people may write entries by hand, and call a change what they like. Each entry adds the task after it, and
subtracts the one before: so totals are exact whatever it is called.
Safe on a live service: yes. It adds a function, and locks no table. Old code goes on with moves(), which a later
migration drops.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A body of one SELECT: Postgres puts it in place of the call.
EFFECTS = """
-- What the entries that a snapshot did not see change. Each entry has a row for the task after it, which counts (1)
-- unless it is deleted (0), with the entry's own action and time. Another row is for the task before it, which counts
-- no longer (-1). So sums are exact whatever the actions are, also of entries that people write by hand. An entry whose
-- predecessor is missing changes nothing but itself.
CREATE FUNCTION effects(of_owner text, seen pg_snapshot) RETURNS TABLE (
    action_type text, "timestamp" timestamptz,
    tasks integer, created_at timestamptz, complete integer, completed_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        move.action_type,
        move.timestamp,
        move.tasks,
        (move.task ->> 'created_at')::timestamptz,
        CASE WHEN move.task ->> 'completed_at' IS NULL THEN 0 ELSE move.tasks END,
        (move.task ->> 'completed_at')::timestamptz
    FROM unseen(of_owner, seen) AS entry
    CROSS JOIN LATERAL (
        SELECT
            entry.action_type,
            entry.timestamp,
            CASE WHEN entry.action_type = 'DELETED' THEN 0 ELSE 1 END,
            entry.snapshot
        UNION ALL
        SELECT NULL, NULL, -1, coalesce(before.snapshot, entry.snapshot)
        FROM (SELECT WHERE entry.action_type NOT IN ('CREATED', 'RESTORED')) AS follows
        LEFT JOIN task_history AS before
            ON before.owner = of_owner
            AND before.task_id = entry.task_id
            AND before.version = entry.version - 1
    ) AS move (action_type, "timestamp", tasks, task)
$$;
"""


def upgrade() -> None:
    op.execute(EFFECTS)


def downgrade() -> None:
    op.execute("DROP FUNCTION effects")
