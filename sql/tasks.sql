-- Every statement on tasks. A write locks the row, changes it and inserts its history entry, in one statement.
--
-- Read a write from top to bottom:
--   earlier   what this Idempotency-Key has written before; without a key, nothing
--   seen      the row as it was when the statement began: it tells a change from one that another request
--             with the same key made while this one waited for the lock
--   locked    the row, locked, as the last writer left it
--   wanted    the row as the request wants it, and the time, read only now that the lock is held;
--             one microsecond later than the last change at the least, should the clock have gone back
--   changed   the row after the change, when there is one
--   entry     what its history entry will say
--   logged    the entry
-- The answer is (outcome, task): written, unchanged, replayed (the key's first answer again), key_reused (the key
-- belongs to another request), raced (run the statement again: the key's entry is there now); no row: no such task.


-- create_task(title, description, idempotency_key, request_digest)
-- One task and its CREATED entry.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
wanted AS MATERIALIZED (
    SELECT clock_timestamp() AS now
    WHERE NOT EXISTS (SELECT FROM earlier)
),
changed AS (
    INSERT INTO tasks (title, description, created_at, updated_at)
    SELECT %(title)s::text, %(description)s::text, now, now
    FROM wanted
    RETURNING id, title, description, is_completed, created_at, updated_at, completed_at, version
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        id,
        'CREATED',
        'title: ''' || title || '''',
        updated_at,
        version,
        jsonb_build_object(
            'id', id,
            'title', title,
            'description', description,
            'is_completed', is_completed,
            'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
    RETURNING snapshot
)
SELECT 'written' AS outcome, snapshot::text AS task
FROM logged
UNION ALL
SELECT CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END, snapshot::text
FROM earlier;


-- list_tasks()
-- Every task as one JSON array: incomplete first, then the newest first.
SELECT coalesce(json_agg(task), '[]')::text AS tasks
FROM (
    SELECT
        id,
        title,
        description,
        is_completed,
        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
        to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at,
        to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS completed_at
    FROM tasks
    -- Qualified, because the bare name would be the text above, which no index holds.
    ORDER BY tasks.is_completed, tasks.created_at DESC, tasks.id
) AS task;


-- get_task(task_id)
-- One task; no row when there is none.
SELECT json_build_object(
    'id', id,
    'title', title,
    'description', description,
    'is_completed', is_completed,
    'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
)::text AS task
FROM tasks
WHERE id = %(task_id)s::uuid;


-- update_task(task_id, title, sets_description, description, idempotency_key, request_digest)
-- New title (null: stays) and, where sets_description, new description (null: none).
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE id = %(task_id)s::uuid
      AND %(idempotency_key)s::text IS NOT NULL
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, created_at, updated_at, completed_at, version
    FROM tasks
    WHERE id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
wanted AS MATERIALIZED (
    SELECT
        id,
        title AS old_title,
        description AS old_description,
        coalesce(%(title)s::text, title) AS title,
        CASE WHEN %(sets_description)s::boolean THEN %(description)s::text ELSE description END AS description,
        greatest(clock_timestamp(), updated_at + interval '1 microsecond') AS now,
        version + 1 AS version
    FROM locked
),
changed AS (
    UPDATE tasks
    SET title = wanted.title,
        description = wanted.description,
        updated_at = wanted.now,
        version = wanted.version
    FROM wanted
    WHERE tasks.id = wanted.id
      AND (wanted.title, wanted.description) IS DISTINCT FROM (wanted.old_title, wanted.old_description)
    RETURNING
        tasks.id, tasks.title, tasks.description, tasks.is_completed, tasks.created_at, tasks.updated_at,
        tasks.completed_at, tasks.version, wanted.old_title, wanted.old_description
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        id,
        'UPDATED',
        concat_ws(
            '; ',
            CASE WHEN title <> old_title
                THEN 'title: ''' || old_title || ''' -> ''' || title || ''''
            END,
            CASE WHEN description IS DISTINCT FROM old_description
                -- The whole text is in the snapshots; here a person wants to see what it was about.
                THEN 'description: '
                    || coalesce('''' || left(old_description, 100)
                        || CASE WHEN char_length(old_description) > 100 THEN '…' ELSE '' END || '''', 'none')
                    || ' -> '
                    || coalesce('''' || left(description, 100)
                        || CASE WHEN char_length(description) > 100 THEN '…' ELSE '' END || '''', 'none')
            END
        ),
        updated_at,
        version,
        jsonb_build_object(
            'id', id,
            'title', title,
            'description', description,
            'is_completed', is_completed,
            'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
    RETURNING snapshot
)
SELECT 'written' AS outcome, snapshot::text AS task
FROM logged
UNION ALL
SELECT
    CASE
        WHEN %(idempotency_key)s::text IS NOT NULL AND version IS DISTINCT FROM (SELECT version FROM seen) THEN 'raced'
        ELSE 'unchanged'
    END,
    jsonb_build_object(
        'id', id,
        'title', title,
        'description', description,
        'is_completed', is_completed,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text
FROM locked
WHERE NOT EXISTS (SELECT FROM logged)
UNION ALL
SELECT 'raced', NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END, snapshot::text
FROM earlier;


-- set_task_completed(task_id, is_completed, idempotency_key, request_digest)
-- COMPLETED or INCOMPLETED; a task that is so already stays untouched.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE id = %(task_id)s::uuid
      AND %(idempotency_key)s::text IS NOT NULL
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, created_at, updated_at, completed_at, version
    FROM tasks
    WHERE id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
wanted AS MATERIALIZED (
    SELECT
        id,
        greatest(clock_timestamp(), updated_at + interval '1 microsecond') AS now,
        version + 1 AS version
    FROM locked
    WHERE is_completed <> %(is_completed)s::boolean
),
changed AS (
    UPDATE tasks
    SET is_completed = %(is_completed)s::boolean,
        completed_at = CASE WHEN %(is_completed)s::boolean THEN wanted.now END,
        updated_at = wanted.now,
        version = wanted.version
    FROM wanted
    WHERE tasks.id = wanted.id
    RETURNING
        tasks.id, tasks.title, tasks.description, tasks.is_completed, tasks.created_at, tasks.updated_at,
        tasks.completed_at, tasks.version
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        id,
        CASE WHEN is_completed THEN 'COMPLETED' ELSE 'INCOMPLETED' END,
        CASE WHEN is_completed THEN 'is_completed: false -> true' ELSE 'is_completed: true -> false' END,
        updated_at,
        version,
        jsonb_build_object(
            'id', id,
            'title', title,
            'description', description,
            'is_completed', is_completed,
            'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
    RETURNING snapshot
)
SELECT 'written' AS outcome, snapshot::text AS task
FROM logged
UNION ALL
SELECT
    CASE
        WHEN %(idempotency_key)s::text IS NOT NULL AND version IS DISTINCT FROM (SELECT version FROM seen) THEN 'raced'
        ELSE 'unchanged'
    END,
    jsonb_build_object(
        'id', id,
        'title', title,
        'description', description,
        'is_completed', is_completed,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text
FROM locked
WHERE NOT EXISTS (SELECT FROM logged)
UNION ALL
SELECT 'raced', NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END, snapshot::text
FROM earlier;


-- delete_task(task_id, idempotency_key, request_digest)
-- The row goes; its DELETED entry keeps the task as it was.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE id = %(task_id)s::uuid
      AND %(idempotency_key)s::text IS NOT NULL
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, created_at, updated_at, completed_at, version
    FROM tasks
    WHERE id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
changed AS (
    DELETE FROM tasks
    USING locked
    WHERE tasks.id = locked.id
    RETURNING
        locked.id, locked.title, locked.description, locked.is_completed, locked.created_at, locked.updated_at,
        locked.completed_at, locked.version
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        id,
        'DELETED',
        'title: ''' || title || '''',
        greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
        version + 1,
        jsonb_build_object(
            'id', id,
            'title', title,
            'description', description,
            'is_completed', is_completed,
            'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'completed_at', to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
    RETURNING snapshot
)
SELECT 'written' AS outcome, snapshot::text AS task
FROM logged
UNION ALL
SELECT 'raced', NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END, snapshot::text
FROM earlier;
