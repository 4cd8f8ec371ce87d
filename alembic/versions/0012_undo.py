"""What an undo may give back, what it does, and what it says

Why: an undo takes changes back field by field, also the time of a completion, which no other change moves. A value that
today's rules refuse stays where it is. How an undone change and a conflict look are types, as for a task.
Safe on a live service: yes. It adds functions and types, replaces one function, and locks no table. Old code goes on.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Bodies of one SELECT: Postgres puts each in place of the call.
DIFFERENCE = """
-- What a change says to people.
CREATE OR REPLACE FUNCTION difference(before tasks, after tasks) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
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
        {completion}
    )
$$;
"""

COMPLETION = """CASE
            WHEN after.is_completed <> before.is_completed
                THEN '''' || after.title || ''': is_completed: '
                    || CASE WHEN after.is_completed THEN 'false -> true' ELSE 'true -> false' END
            WHEN after.completed_at <> before.completed_at
                THEN 'completed_at: '
                    || to_char(before.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' -> '
                    || to_char(after.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        END"""

COMPLETION_BEFORE = """CASE WHEN after.is_completed <> before.is_completed
            THEN '''' || after.title || ''': is_completed: '
                || CASE WHEN after.is_completed THEN 'false -> true' ELSE 'true -> false' END
        END"""

RULES = """
-- Whether today's rules allow a value of a field. The limits are those of the domains.
CREATE FUNCTION is_allowed(field text, value text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE field
        WHEN 'title' THEN char_length(value) <= 255 AND is_visible(value)
        WHEN 'description' THEN coalesce(char_length(value) <= 5000, true)
        ELSE true
    END
$$;
"""

UNDO = """
-- The action of an undo, or of a restoration: what it does to a task that was there before, or not, and stays, or not.
CREATE FUNCTION undo_action(before tasks, after tasks, was_there boolean, stays boolean) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN NOT stays THEN 'DELETED'
        WHEN NOT was_there THEN 'RESTORED'
        WHEN after.is_completed = before.is_completed THEN 'UPDATED'
        WHEN after.is_completed THEN 'COMPLETED'
        ELSE 'INCOMPLETED'
    END
$$;

-- What it says to people. A task that comes or goes has its title named.
CREATE FUNCTION undo_text(before tasks, after tasks, was_there boolean, stays boolean) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT 'undo: ' || concat_ws(
        '; ',
        CASE WHEN NOT stays OR NOT was_there AND after.title = before.title
            THEN 'title: ''' || before.title || ''''
        END,
        CASE WHEN stays THEN nullif(difference(before, after), '') END
    )
$$;

CREATE TYPE undo_change AS (
    task_id     uuid,
    version     integer,
    description text,
    task        task_answer
);

CREATE TYPE undo_conflict AS (
    task_id     uuid,
    field       text,
    version     integer,
    actor       text,
    "timestamp" text
);
"""


def upgrade() -> None:
    for statements in (DIFFERENCE.format(completion=COMPLETION), RULES, UNDO):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TYPE undo_conflict")
    op.execute("DROP TYPE undo_change")
    op.execute("DROP FUNCTION undo_text")
    op.execute("DROP FUNCTION undo_action")
    op.execute("DROP FUNCTION is_allowed")
    op.execute(DIFFERENCE.format(completion=COMPLETION_BEFORE))
