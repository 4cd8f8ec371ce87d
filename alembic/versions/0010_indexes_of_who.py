"""Indexes by actor, by request and by change set

Why: an undo finds what a request, a change set or an actor has written; the history can be filtered by them.
Safe on a live service: yes. Nothing waits for it: the indexes are built CONCURRENTLY, each in a transaction of its own.
It may be stopped at any time, and started again: it begins anew. Entries from before have none of the three.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = {
    "task_history_actor": (
        "task_history (owner, actor, timestamp DESC, task_id DESC, version, action_type) WHERE actor IS NOT NULL"
    ),
    "task_history_request": "task_history (owner, request_id) WHERE request_id IS NOT NULL",
    "task_history_change_set": (
        "task_history (owner, change_set, timestamp DESC, task_id DESC, version) WHERE change_set IS NOT NULL"
    ),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
