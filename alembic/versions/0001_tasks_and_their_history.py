"""Tasks and their history

Why: the two tables of the service, with every rule of the contract that a table can hold.
Safe on a live service: yes, it only creates what is not there yet.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TASKS = r"""
CREATE TABLE tasks (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    title        text        NOT NULL,
    description  text,
    is_completed boolean     NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    completed_at timestamptz,
    -- 1 at creation, one more with each change: always taken from the locked row.
    version      integer     NOT NULL DEFAULT 1,

    CONSTRAINT tasks_title_length CHECK (char_length(title) <= 255),
    -- The characters that Python's str.isspace() knows, so that both sides agree on what is blank.
    CONSTRAINT tasks_title_not_blank CHECK (
        btrim(title, E' \t\n\x0B\f\r\x1C\x1D\x1E\x1F\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005'
                       '\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000') <> ''
    ),
    CONSTRAINT tasks_description_length CHECK (char_length(description) <= 5000),
    CONSTRAINT tasks_completed_at_while_completed CHECK (is_completed = (completed_at IS NOT NULL)),
    CONSTRAINT tasks_version_positive CHECK (version >= 1)
);

-- The order of GET /tasks.
CREATE INDEX tasks_list ON tasks (is_completed, created_at DESC, id);
-- The week of GET /stats/weekly.
CREATE INDEX tasks_created_at ON tasks (created_at);
CREATE INDEX tasks_completed_at ON tasks (completed_at) WHERE completed_at IS NOT NULL;
"""

HISTORY = """
CREATE TABLE task_history (
    history_id      uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    -- No foreign key: an entry outlives its task, and a referential action would rewrite the log.
    task_id         uuid        NOT NULL,
    action_type     text        NOT NULL,
    description     text        NOT NULL,
    timestamp       timestamptz NOT NULL,
    -- The task's version after the change; for DELETED, the one that would have followed.
    version         integer     NOT NULL,
    -- The whole task after the change, as the client got it; for DELETED, before it.
    snapshot        jsonb       NOT NULL,
    -- The Idempotency-Key of the request, what it asked for, and the entry's place among those it wrote.
    idempotency_key text,
    request_digest  bytea,
    request_entry   integer     NOT NULL DEFAULT 0,

    CONSTRAINT task_history_version UNIQUE (task_id, version),
    CONSTRAINT task_history_action_type
        CHECK (action_type IN ('CREATED', 'UPDATED', 'DELETED', 'COMPLETED', 'INCOMPLETED')),
    CONSTRAINT task_history_created_first CHECK ((action_type = 'CREATED') = (version = 1)),
    CONSTRAINT task_history_digest_with_key CHECK ((idempotency_key IS NULL) = (request_digest IS NULL))
);

-- The order of GET /history, and the same within one action.
CREATE INDEX task_history_list ON task_history (timestamp DESC, history_id DESC);
CREATE INDEX task_history_list_by_action ON task_history (action_type, timestamp DESC, history_id DESC);
-- A key writes once, whoever comes second.
CREATE UNIQUE INDEX task_history_idempotency_key ON task_history (idempotency_key, request_entry)
    WHERE idempotency_key IS NOT NULL;
"""

APPEND_ONLY = """
CREATE FUNCTION task_history_refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER task_history_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON task_history
    FOR EACH STATEMENT EXECUTE FUNCTION task_history_refuse_rewrite();
"""

# After the statement, when both of its halves are visible.
ENTRY_NEEDS_TASK = """
CREATE FUNCTION task_history_require_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.action_type = 'DELETED') = EXISTS (SELECT FROM tasks WHERE id = NEW.task_id) THEN
        RAISE EXCEPTION 'task % is % by this entry, which is not true of the task', NEW.task_id, NEW.action_type
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER task_history_needs_task
    AFTER INSERT ON task_history
    FOR EACH ROW EXECUTE FUNCTION task_history_require_task();
"""

# Deferred to the commit, so that a person at psql may write the change and its entry as two statements.
CHANGE_NEEDS_ENTRY = """
CREATE FUNCTION tasks_require_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed_id      uuid    := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
    entry_version   integer := CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE OLD.version + 1 END;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.created_at, NEW.version) <> (OLD.id, OLD.created_at, OLD.version + 1)
       OR TG_OP = 'INSERT' AND NEW.version <> 1
       OR NOT EXISTS (SELECT FROM task_history WHERE task_id = changed_id AND version = entry_version) THEN
        RAISE EXCEPTION 'the % of task % has no entry % in task_history', TG_OP, changed_id, entry_version
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Write the entry in the same transaction, as the statements in sql/tasks.sql do.';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER tasks_need_entry
    AFTER INSERT OR UPDATE OR DELETE ON tasks
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tasks_require_entry();

CREATE FUNCTION tasks_refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE would remove tasks without an entry in task_history'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER tasks_no_truncate
    BEFORE TRUNCATE ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION tasks_refuse_truncate();
"""


def upgrade() -> None:
    for statements in (TASKS, HISTORY, APPEND_ONLY, ENTRY_NEEDS_TASK, CHANGE_NEEDS_ENTRY):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TABLE task_history")
    op.execute("DROP TABLE tasks")
    op.execute("DROP FUNCTION task_history_refuse_rewrite")
    op.execute("DROP FUNCTION task_history_require_task")
    op.execute("DROP FUNCTION tasks_require_entry")
    op.execute("DROP FUNCTION tasks_refuse_truncate")
