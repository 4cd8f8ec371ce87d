"""How an entry looks in the changes is a type

Why: a client that keeps a copy of the tasks follows the changes: each entry with the task as the change left it.
Safe on a live service: yes. It adds a type and a function, and locks no table. Old code goes on.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# A body of one SELECT: Postgres puts it in place of the call.
CHANGE = """
CREATE TYPE change_answer AS (
    history_id  uuid,
    task_id     uuid,
    version     integer,
    action_type text,
    description text,
    "timestamp" text,
    actor       text,
    request_id  text,
    change_set  text,
    task        task_answer
);

-- An entry with the task after it; after a DELETED one there is none.
CREATE FUNCTION change(entry task_history) RETURNS change_answer LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ROW(
        entry.history_id,
        entry.task_id,
        entry.version,
        entry.action_type,
        entry.description,
        to_char(entry.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        entry.actor,
        entry.request_id,
        entry.change_set,
        CASE WHEN entry.action_type <> 'DELETED' THEN answer(entry.snapshot) END
    )::change_answer
$$;
"""


def upgrade() -> None:
    op.execute(CHANGE)


def downgrade() -> None:
    op.execute("DROP FUNCTION change")
    op.execute("DROP TYPE change_answer")
