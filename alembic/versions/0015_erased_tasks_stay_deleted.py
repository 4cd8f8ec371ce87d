"""What an erased entry is; an erased task does not return

Why: the operator can erase the texts of a deleted task. A restoration that has read them before must not bring them
back.
Safe on a live service: yes. It adds a function, replaces one, and locks no table. Old code goes on.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# A body of one SELECT: Postgres puts it in place of the call.
IS_ERASED = """
-- Whether the operator has erased the entry's texts. What a change says of itself never begins so.
CREATE FUNCTION is_erased(entry task_history) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT entry.description LIKE 'erased %'
$$;
"""

BEFORE = (
    "        -- A task that returns, or a row of a dump: all entries are there, and it is as the last of them left it."
)

RULE = """        PERFORM FROM %1$s.task_history AS entry
        WHERE owner = NEW.owner AND task_id = NEW.id AND %1$s.is_erased(entry);
        IF FOUND THEN
            -- The statement has read the texts before they were erased. With this code, the service runs it again.
            RAISE EXCEPTION 'the texts of task %% are erased: it does not return', NEW.id
                USING ERRCODE = 'serialization_failure';
        END IF;
"""

# The function as it is but for this rule.
REPLACE = """
DO $do$
DECLARE
    schema     text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tasks'::regclass);
    definition text := pg_get_functiondef('tasks_inserted()'::regprocedure);
    old        text := format($text${old}$text$, schema);
    new        text := format($text${new}$text$, schema);
BEGIN
    IF strpos(definition, old) = 0 THEN
        RAISE EXCEPTION 'the function tasks_inserted is not as taskapi made it';
    END IF;
    EXECUTE replace(definition, old, new);
END $do$
"""


def upgrade() -> None:
    op.execute(IS_ERASED)
    op.execute(REPLACE.format(old=BEFORE, new=RULE + BEFORE))


def downgrade() -> None:
    op.execute(REPLACE.format(old=RULE + BEFORE, new=BEFORE))
    op.execute("DROP FUNCTION is_erased")
