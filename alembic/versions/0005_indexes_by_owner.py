"""Indexes that begin with the owner, beside those that are there; the totals of what is there

Why: the next migration puts them in place of the old ones. A unique index on history_id is not among them, nor any
on created_at and completed_at: the totals of each quarter of an hour tell what they were for.
Safe on a live service: yes. Nothing waits for it: the indexes are built CONCURRENTLY, each in a transaction of its own.
It may be stopped at any time, and started again: it begins anew. With 3 million entries it takes some twenty seconds.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = {
    # The order of GET /tasks.
    "tasks_list": 'tasks (owner COLLATE "POSIX", is_completed, created_at DESC, id)',
    "tasks_pkey": "UNIQUE tasks (owner, id)",
    # The order of GET /history, and the same within one action; and the entries' keys, to find them by.
    "task_history_list": 'task_history (owner COLLATE "POSIX", timestamp DESC, task_id DESC, version)',
    "task_history_list_by_action": (
        'task_history (owner COLLATE "ucs_basic", action_type, timestamp DESC, task_id DESC, version)'
    ),
    # What a snapshot has not seen.
    "task_history_feed": 'task_history (owner COLLATE "POSIX", transaction_id, timestamp)',
    "task_history_pkey": "UNIQUE task_history (owner, task_id, version)",
    # A key writes once, whoever comes second.
    "task_history_idempotency_key": (
        "UNIQUE task_history (owner, idempotency_key, request_entry) WHERE idempotency_key IS NOT NULL"
    ),
}
"""By the names that they have from the next migration on; until then, `_by_owner` stands behind them.

The collations all compare byte by byte. They say which index a statement can use: a condition on `owner` alone fits
the keys, one on `owner COLLATE "POSIX"` or `"ucs_basic"` the lists. Without them, a plan that is made while a table is
empty may take any index, use its owner alone, and be kept while the table grows and the one owner has all rows.
Where all indexes cost the same, the planner takes the last one: so the keys come after the lists.
"""

# From the rows themselves, all as one snapshot sees them. RESTORED does not exist yet.
TOTALS = """
WITH totals AS (
    INSERT INTO task_totals (
        owner, upto, created, updated, completed, incompleted, deleted, restored, complete
    )
    SELECT
        'default',
        pg_current_snapshot(),
        count(*) FILTER (WHERE action_type = 'CREATED'),
        count(*) FILTER (WHERE action_type = 'UPDATED'),
        count(*) FILTER (WHERE action_type = 'COMPLETED'),
        count(*) FILTER (WHERE action_type = 'INCOMPLETED'),
        count(*) FILTER (WHERE action_type = 'DELETED'),
        0,
        (SELECT count(*) FROM tasks WHERE is_completed)
    FROM task_history
    HAVING count(*) > 0
)
INSERT INTO task_quarters (owner, quarter, created, completed)
SELECT
    'default',
    date_bin('15 minutes', moment, 'epoch'),
    count(*) FILTER (WHERE is_created),
    count(*) FILTER (WHERE NOT is_created)
FROM (
    SELECT true AS is_created, created_at AS moment FROM tasks
    UNION ALL
    SELECT false, completed_at FROM tasks WHERE is_completed
) AS moments
GROUP BY 2
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            unique, table = ("UNIQUE ", columns.removeprefix("UNIQUE ")) if columns[0] == "U" else ("", columns)
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}_by_owner")
            op.execute(f"CREATE {unique}INDEX CONCURRENTLY {name}_by_owner ON {table}")
    op.execute("DELETE FROM task_quarters")
    op.execute("DELETE FROM task_totals")
    op.execute(TOTALS)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}_by_owner")
