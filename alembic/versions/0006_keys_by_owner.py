"""The owner is first in every key; the rules of single columns are domains; one trigger function for each operation

Why: each owner's rows are found, and kept apart, by the keys. Postgres reads a table's CHECKs anew in each statement
that writes, and keeps those of a domain: a write costs less.
Safe on a live service: yes. It reads and rewrites no rows: one transaction of some milliseconds. Old code goes on, but
looks for tasks by their ids alone, which takes longer on a large table, until it is replaced.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOCK = "LOCK TABLE task_history, tasks IN ACCESS EXCLUSIVE MODE"

KEYS = """
ALTER TABLE tasks DROP CONSTRAINT tasks_pkey;
ALTER TABLE tasks ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_pkey_by_owner;
ALTER TABLE task_history DROP CONSTRAINT task_history_pkey;
ALTER TABLE task_history DROP CONSTRAINT task_history_version;
ALTER TABLE task_history ADD CONSTRAINT task_history_pkey PRIMARY KEY USING INDEX task_history_pkey_by_owner;
DROP INDEX tasks_list, tasks_created_at, tasks_completed_at;
DROP INDEX task_history_list, task_history_list_by_action, task_history_idempotency_key;
ALTER INDEX tasks_list_by_owner RENAME TO tasks_list;
ALTER INDEX task_history_list_by_owner RENAME TO task_history_list;
ALTER INDEX task_history_list_by_action_by_owner RENAME TO task_history_list_by_action;
ALTER INDEX task_history_feed_by_owner RENAME TO task_history_feed;
ALTER INDEX task_history_idempotency_key_by_owner RENAME TO task_history_idempotency_key;
"""

# The rules are NOT VALID because the CHECKs that they replace have held for every row that is there: to look at all of
# them again would keep writes waiting. For what is written from now on they hold. A column gets its domain while that
# has no rules yet: else Postgres would rewrite the table.
DOMAINS = """
CREATE DOMAIN task_title AS text;
CREATE DOMAIN task_description AS text;
CREATE DOMAIN task_version AS integer;
CREATE DOMAIN task_action AS text;

ALTER TABLE tasks
    DROP CONSTRAINT tasks_title_length,
    DROP CONSTRAINT tasks_description_length,
    DROP CONSTRAINT tasks_version_positive;
ALTER TABLE task_history
    DROP CONSTRAINT task_history_action_type,
    DROP CONSTRAINT task_history_created_first;

ALTER TABLE tasks
    ALTER title TYPE task_title,
    ALTER description TYPE task_description,
    ALTER version TYPE task_version;
ALTER TABLE task_history
    ALTER action_type TYPE task_action,
    ALTER version TYPE task_version,
    ADD CONSTRAINT task_history_created_first CHECK ((action_type = 'CREATED') = (version = 1)) NOT VALID;

ALTER DOMAIN task_title ADD CONSTRAINT tasks_title_length CHECK (char_length(VALUE) <= 255) NOT VALID;
ALTER DOMAIN task_description ADD CONSTRAINT tasks_description_length CHECK (char_length(VALUE) <= 5000) NOT VALID;
ALTER DOMAIN task_version ADD CONSTRAINT tasks_version_positive CHECK (VALUE >= 1) NOT VALID;
ALTER DOMAIN task_action ADD CONSTRAINT task_history_action_type
    CHECK (VALUE IN ('CREATED', 'UPDATED', 'DELETED', 'COMPLETED', 'INCOMPLETED', 'RESTORED')) NOT VALID;
"""

# Deferred to the commit, so that a person at psql may write a change and its entry as two statements, and a dump can be
# loaded table by table. The tables have their full names, because a session that restores a dump has no search_path. To
# SET it on the functions would do the same, and make each write dearer.
FUNCTIONS = r"""
DO $do$
DECLARE
    schema text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tasks'::regclass);
BEGIN

EXECUTE format($format$
CREATE FUNCTION tasks_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM %1$s.task_history
    WHERE owner = NEW.owner AND task_id = NEW.id AND version = NEW.version;
    IF FOUND AND NEW.version <> 1 THEN
        -- A row of a dump: its entries are all there, and it is as the last of them left it.
        PERFORM FROM %1$s.task_history
        WHERE owner = NEW.owner AND task_id = NEW.id
        HAVING max(version) = NEW.version AND count(*) = NEW.version AND bool_and(action_type <> 'DELETED');
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the INSERT of task %% has no entry %% in task_history', NEW.id, NEW.version
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Write the entry in the same transaction, as the statements in sql/tasks.sql do;'
                         ' load a dump of the data in one: psql or pg_restore with --single-transaction.';
    END IF;
    -- What a dump brings back is older than its transaction, and may have a title that was allowed once.
    IF NEW.created_at >= now() AND NOT %1$s.is_visible(NEW.title) THEN
        RAISE EXCEPTION 'the title of task %% has no visible character', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tasks_title_visible', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
$format$, schema);

EXECUTE format($format$
CREATE FUNCTION tasks_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM %1$s.task_history
    WHERE owner = NEW.owner AND task_id = NEW.id AND version = OLD.version + 1;
    IF NOT FOUND OR NEW.version <> OLD.version + 1
       OR NEW.id <> OLD.id OR NEW.owner <> OLD.owner OR NEW.created_at <> OLD.created_at THEN
        RAISE EXCEPTION 'the UPDATE of task %% has no entry %% in task_history', OLD.id, OLD.version + 1
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Write the entry in the same transaction, as the statements in sql/tasks.sql do.';
    END IF;
    IF NEW.title <> OLD.title AND NOT %1$s.is_visible(NEW.title) THEN
        RAISE EXCEPTION 'the title of task %% has no visible character', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tasks_title_visible', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
$format$, schema);

EXECUTE format($format$
CREATE FUNCTION tasks_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM %1$s.task_history
    WHERE owner = OLD.owner AND task_id = OLD.id AND version = OLD.version + 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the DELETE of task %% has no entry %% in task_history', OLD.id, OLD.version + 1
            USING ERRCODE = 'integrity_constraint_violation',
                  HINT = 'Write the entry in the same transaction, as the statements in sql/tasks.sql do.';
    END IF;
    RETURN NULL;
END $$
$format$, schema);

EXECUTE format($format$
CREATE FUNCTION task_history_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM %1$s.tasks WHERE owner = NEW.owner AND id = NEW.task_id;
    IF FOUND = (NEW.action_type = 'DELETED') THEN
        -- Whether the task is there, the last of its entries tells.
        PERFORM FROM %1$s.task_history
        WHERE owner = NEW.owner AND task_id = NEW.task_id AND version > NEW.version;
        IF NOT FOUND THEN
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

END $do$;
"""

# taskapi/schemas.py has the same characters, and says which they are.
VISIBLE = r"""
CREATE FUNCTION is_visible(title text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ascii(title) BETWEEN 33 AND 126 OR title ~
        '[^\u0001-\u0020\u007F-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F'
        '\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]'
$$;
"""

TRIGGERS = """
DROP TRIGGER tasks_need_entry ON tasks;
DROP TRIGGER task_history_needs_task ON task_history;
DROP FUNCTION tasks_require_entry;
DROP FUNCTION task_history_require_task;

CREATE CONSTRAINT TRIGGER tasks_inserted
    AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tasks_inserted();
CREATE CONSTRAINT TRIGGER tasks_updated
    AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tasks_updated();
CREATE CONSTRAINT TRIGGER tasks_deleted
    AFTER DELETE ON tasks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tasks_deleted();
CREATE CONSTRAINT TRIGGER task_history_inserted
    AFTER INSERT ON task_history DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION task_history_inserted();
"""

OLD_INDEXES = {
    "tasks_pkey": "UNIQUE tasks (id)",
    "tasks_list": "tasks (is_completed, created_at DESC, id)",
    "tasks_created_at": "tasks (created_at)",
    "tasks_completed_at": "tasks (completed_at) WHERE completed_at IS NOT NULL",
    "task_history_pkey": "UNIQUE task_history (history_id)",
    "task_history_version": "UNIQUE task_history (task_id, version)",
    "task_history_list": "task_history (timestamp DESC, history_id DESC)",
    "task_history_list_by_action": "task_history (action_type, timestamp DESC, history_id DESC)",
    "task_history_idempotency_key": (
        "UNIQUE task_history (idempotency_key, request_entry) WHERE idempotency_key IS NOT NULL"
    ),
}

OLD_KEYS = """
ALTER TABLE tasks DROP CONSTRAINT tasks_pkey;
ALTER TABLE tasks ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_pkey_before;
ALTER TABLE task_history DROP CONSTRAINT task_history_pkey;
ALTER TABLE task_history
    ADD CONSTRAINT task_history_pkey PRIMARY KEY USING INDEX task_history_pkey_before,
    ADD CONSTRAINT task_history_version UNIQUE USING INDEX task_history_version_before;
ALTER INDEX tasks_list RENAME TO tasks_list_by_owner;
ALTER INDEX task_history_list RENAME TO task_history_list_by_owner;
ALTER INDEX task_history_list_by_action RENAME TO task_history_list_by_action_by_owner;
ALTER INDEX task_history_feed RENAME TO task_history_feed_by_owner;
ALTER INDEX task_history_idempotency_key RENAME TO task_history_idempotency_key_by_owner;
ALTER INDEX tasks_list_before RENAME TO tasks_list;
ALTER INDEX tasks_created_at_before RENAME TO tasks_created_at;
ALTER INDEX tasks_completed_at_before RENAME TO tasks_completed_at;
ALTER INDEX task_history_list_before RENAME TO task_history_list;
ALTER INDEX task_history_list_by_action_before RENAME TO task_history_list_by_action;
ALTER INDEX task_history_idempotency_key_before RENAME TO task_history_idempotency_key;
"""

OLD_RULES = """
ALTER TABLE tasks
    ALTER title TYPE text,
    ALTER description TYPE text,
    ALTER version TYPE integer;
ALTER TABLE task_history
    DROP CONSTRAINT task_history_created_first,
    ALTER action_type TYPE text,
    ALTER version TYPE integer;
DROP DOMAIN task_title, task_description, task_version, task_action;

ALTER TABLE tasks
    ADD CONSTRAINT tasks_title_length CHECK (char_length(title) <= 255),
    ADD CONSTRAINT tasks_description_length CHECK (char_length(description) <= 5000),
    ADD CONSTRAINT tasks_version_positive CHECK (version >= 1);
ALTER TABLE task_history
    ADD CONSTRAINT task_history_action_type
        CHECK (action_type IN ('CREATED', 'UPDATED', 'DELETED', 'COMPLETED', 'INCOMPLETED')),
    ADD CONSTRAINT task_history_created_first CHECK ((action_type = 'CREATED') = (version = 1));
"""

OLD_FUNCTIONS = r"""
DO $do$
DECLARE
    schema text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tasks'::regclass);
BEGIN

EXECUTE format($format$
CREATE FUNCTION task_history_require_task() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE FUNCTION tasks_require_entry() RETURNS trigger LANGUAGE plpgsql AS $$
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
        IF TG_OP = 'INSERT' AND NEW.created_at >= now() OR TG_OP = 'UPDATE' AND NEW.title <> OLD.title THEN
            RAISE EXCEPTION 'the title of task %% has no visible character', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'tasks_title_visible', TABLE = TG_TABLE_NAME;
        END IF;
    END IF;
    RETURN NULL;
END $$
$format$, schema);

END $do$;
"""

OLD_TRIGGERS = """
DROP TRIGGER tasks_inserted ON tasks;
DROP TRIGGER tasks_updated ON tasks;
DROP TRIGGER tasks_deleted ON tasks;
DROP TRIGGER task_history_inserted ON task_history;
DROP FUNCTION tasks_inserted;
DROP FUNCTION tasks_updated;
DROP FUNCTION tasks_deleted;
DROP FUNCTION task_history_inserted;
DROP FUNCTION is_visible;

CREATE CONSTRAINT TRIGGER task_history_needs_task
    AFTER INSERT ON task_history DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION task_history_require_task();
CREATE CONSTRAINT TRIGGER tasks_need_entry
    AFTER INSERT OR UPDATE OR DELETE ON tasks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tasks_require_entry();
"""


def upgrade() -> None:
    for statements in (LOCK, KEYS, DOMAINS, VISIBLE, FUNCTIONS, TRIGGERS):
        op.execute(statements)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name, columns in {
            **{f"{name}_before": columns for name, columns in OLD_INDEXES.items()},
            # The migration before has built these; they would go with their constraints.
            "tasks_pkey_by_owner": "UNIQUE tasks (owner, id)",
            "task_history_pkey_by_owner": "UNIQUE task_history (owner, task_id, version)",
        }.items():
            unique, table = ("UNIQUE ", columns.removeprefix("UNIQUE ")) if columns[0] == "U" else ("", columns)
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE {unique}INDEX CONCURRENTLY {name} ON {table}")
    for statements in (LOCK, OLD_KEYS, OLD_RULES, OLD_FUNCTIONS, OLD_TRIGGERS):
        op.execute(statements)
