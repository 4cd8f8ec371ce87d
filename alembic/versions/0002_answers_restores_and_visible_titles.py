"""How a task looks is a type; dumps of the data can be loaded; a title needs a visible character

Why: every answer shows the fields of a task in one order and one spacing. The triggers find their tables under any
search_path (pg_dump's is empty), and accept a history and its tasks that are loaded in one transaction. A title of
zero-width or filler characters looks as blank as one of spaces.
Safe on a live service: yes. It reads and rewrites no rows. It locks both tables, for some milliseconds, in the order in
which the statements of sql/ do. Old code serves on, but its readiness, which looks for `alembic_version`, is 503 until
it is replaced.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LOCK = "LOCK TABLE task_history, tasks IN ACCESS EXCLUSIVE MODE"

# A body of text and nothing else to it: Postgres then puts it in place of the call, which costs nothing.
ANSWER = """
CREATE TYPE task_answer AS (
    id           uuid,
    title        text,
    description  text,
    is_completed boolean,
    created_at   text,
    updated_at   text,
    completed_at text
);

CREATE FUNCTION answer(task tasks) RETURNS task_answer LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ROW(
        task.id,
        task.title,
        task.description,
        task.is_completed,
        to_char(task.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        to_char(task.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        to_char(task.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::task_answer
$$;

-- Of an entry's snapshot.
CREATE FUNCTION answer(snapshot jsonb) RETURNS task_answer LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_populate_record(NULL::task_answer, snapshot)
$$;
"""

# The triggers find their tables by full names, because a session that restores a dump has no search_path. To SET it on
# the functions would do the same, and make each write some 6 % dearer.
# The rules say what is true when all of a dump is loaded, so they are deferred: it comes table by table.
# The title's rule stands here, and not in a CHECK, so that a stored title which it would refuse hinders no other
# change; and because a CHECK is parsed anew in each statement that writes, and a function once a session.
TRIGGERS = r"""
DO $do$
DECLARE
    schema text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tasks'::regclass);
BEGIN

EXECUTE format($format$
CREATE OR REPLACE FUNCTION task_history_require_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.action_type = 'DELETED') = EXISTS (SELECT FROM %1$s.tasks WHERE id = NEW.task_id) THEN
        -- Whether the task is there, the last of its entries tells.
        IF NOT EXISTS (SELECT FROM %1$s.task_history WHERE task_id = NEW.task_id AND version > NEW.version) THEN
            RAISE EXCEPTION 'the entry %% of task %% is not true: the task is %%', NEW.action_type, NEW.task_id,
                            CASE WHEN NEW.action_type = 'DELETED' THEN 'there' ELSE 'not there' END
                USING ERRCODE = 'integrity_constraint_violation',
                      HINT = 'Load a dump of the data in one transaction:'
                             ' psql or pg_restore with --single-transaction.';
        END IF;
    END IF;
    RETURN NULL;
END $$
$format$, schema);

EXECUTE format($format$
CREATE OR REPLACE FUNCTION tasks_require_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed_id    uuid    := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
    entry_version integer := CASE WHEN TG_OP = 'INSERT' THEN NEW.version ELSE OLD.version + 1 END;
    is_told       boolean := EXISTS (
        SELECT FROM %1$s.task_history WHERE task_id = changed_id AND version = entry_version
    );
BEGIN
    IF TG_OP = 'UPDATE' THEN
        is_told := is_told AND (NEW.id, NEW.created_at, NEW.version) = (OLD.id, OLD.created_at, OLD.version + 1);
    ELSIF TG_OP = 'INSERT' AND NEW.version <> 1 THEN
        -- A row of a dump: its entries are all there, and it is as the last of them left it.
        is_told := NEW.version = (
            SELECT CASE WHEN min(version) = 1 AND bool_and(action_type <> 'DELETED') THEN count(*) END
            FROM %1$s.task_history
            WHERE task_id = NEW.id
            HAVING max(version) = NEW.version
        );
    END IF;
    IF is_told IS NOT TRUE THEN
        RAISE EXCEPTION 'the %% of task %% has no entry %% in task_history', TG_OP, changed_id, entry_version
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Write the entry in the same transaction, as the statements in sql/tasks.sql do;'
                         ' load a dump of the data in one: psql or pg_restore with --single-transaction.';
    END IF;
    -- taskapi/schemas.py has the same characters, and says which they are.
    -- From the table and not from NEW, whose fields' types a session remembers for good.
    IF TG_OP <> 'DELETE' AND EXISTS (
        SELECT FROM %1$s.tasks
        WHERE id = NEW.id
          AND title !~ '[^\u0001-\u0020\u007F-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F'
                       '\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]'
    ) THEN
        IF TG_OP = 'INSERT' OR NEW.title <> OLD.title THEN
            RAISE EXCEPTION 'the title of task %% has no visible character', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'tasks_title_visible', TABLE = TG_TABLE_NAME;
        END IF;
    END IF;
    RETURN NULL;
END $$
$format$, schema);

END $do$;

DROP TRIGGER task_history_needs_task ON task_history;
CREATE CONSTRAINT TRIGGER task_history_needs_task
    AFTER INSERT ON task_history
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION task_history_require_task();

ALTER TABLE tasks DROP CONSTRAINT tasks_title_not_blank;
"""

BEFORE = r"""
CREATE OR REPLACE FUNCTION task_history_require_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.action_type = 'DELETED') = EXISTS (SELECT FROM tasks WHERE id = NEW.task_id) THEN
        RAISE EXCEPTION 'task % is % by this entry, which is not true of the task', NEW.task_id, NEW.action_type
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER task_history_needs_task ON task_history;
CREATE TRIGGER task_history_needs_task
    AFTER INSERT ON task_history
    FOR EACH ROW EXECUTE FUNCTION task_history_require_task();

CREATE OR REPLACE FUNCTION tasks_require_entry() RETURNS trigger LANGUAGE plpgsql AS $$
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

ALTER TABLE tasks ADD CONSTRAINT tasks_title_not_blank CHECK (
    btrim(title, E' \t\n\x0B\f\r\x1C\x1D\x1E\x1F\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005'
                   '\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000') <> ''
);

DROP FUNCTION answer(jsonb);
DROP FUNCTION answer(tasks);
DROP TYPE task_answer;
"""


def upgrade() -> None:
    for statements in (LOCK, ANSWER, TRIGGERS):
        op.execute(statements)


def downgrade() -> None:
    op.execute(LOCK)
    op.execute(BEFORE)
