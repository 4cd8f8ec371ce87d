-- Every statement on one task, and the list of all. A write locks the row, changes it and inserts its history entry, in
-- one statement.
--
-- Read a write from top to bottom:
--   earlier   what this Idempotency-Key has written before; without a key, nothing
--   seen      the row as it was when the statement began: it tells a change from one that another request
--             with the same key made while this one waited for the lock
--   locked    the row, locked, as the last writer left it
--   wanted    the row as the request wants it, and the time, read only now that the lock is held;
--             at least one microsecond later than the last change, should the clock have gone back
--   changed   the row after the change, when there is one
--   logged    the history entry
-- The answer is (outcome, task): written, unchanged, replayed (the key's first answer again), key_reused (the key
-- belongs to another request), raced (run the statement again: the key's entry is there now); no row: no such task.
--
-- How a task looks is said once: answer(tasks) has its fields in the contract's order, and times as text. A snapshot is
-- jsonb, which orders keys its own way: answer(jsonb) puts them back.
--
-- Each key and each index begins with the owner. `owner` alone finds the keys; the indexes of lists are found by
-- `owner COLLATE "POSIX"`, which means the same. So no plan can take a list's index for a key's, whatever Postgres
-- knows or does not know about the table when it makes the plan (docs/decisions/0013).


-- create_task(owner, title, description, idempotency_key, request_digest)
-- One task and its CREATED entry.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
wanted AS MATERIALIZED (
    SELECT clock_timestamp() AS now
    WHERE NOT EXISTS (SELECT FROM earlier)
),
changed AS (
    INSERT INTO tasks (owner, title, description, created_at, updated_at)
    SELECT %(owner)s::text, %(title)s::text, %(description)s::text, now, now
    FROM wanted
    RETURNING id, title, updated_at, version, tasks AS task
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        id,
        'CREATED',
        'title: ''' || title || '''',
        updated_at,
        version,
        to_jsonb(answer(task)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(task))::text AS task
FROM changed
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text
FROM earlier;


-- list_tasks(owner)
-- Every task as one JSON array: incomplete first, then the newest first.
SELECT coalesce(json_agg(answer(task)), '[]')::text AS tasks
FROM (
    SELECT tasks AS task
    FROM tasks
    WHERE owner COLLATE "POSIX" = %(owner)s::text
    ORDER BY is_completed, created_at DESC, id
) AS listed;


-- get_task(owner, task_id)
-- One task; no row when there is none.
SELECT row_to_json(answer(tasks))::text AS task
FROM tasks
WHERE owner = %(owner)s::text
  AND id = %(task_id)s::uuid;


-- change_task(owner, task_id, title, sets_description, description, is_completed, idempotency_key, request_digest)
-- New title (null: stays); where sets_description, new description (null: none); new state (null: stays). The entry is
-- COMPLETED or INCOMPLETED where the state changes, else UPDATED.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND %(idempotency_key)s::text IS NOT NULL
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, completed_at, updated_at, version, tasks AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
wanted AS MATERIALIZED (
    SELECT
        title AS old_title,
        description AS old_description,
        is_completed AS old_is_completed,
        completed_at,
        coalesce(%(title)s::text, title) AS title,
        CASE WHEN %(sets_description)s::boolean THEN %(description)s::text ELSE description END AS description,
        coalesce(%(is_completed)s::boolean, is_completed) AS is_completed,
        greatest(clock_timestamp(), updated_at + interval '1 microsecond') AS now,
        version + 1 AS version
    FROM locked
),
changed AS (
    UPDATE tasks
    SET title = wanted.title,
        description = wanted.description,
        is_completed = wanted.is_completed,
        completed_at = CASE
            WHEN wanted.is_completed = wanted.old_is_completed THEN wanted.completed_at
            WHEN wanted.is_completed THEN wanted.now
        END,
        updated_at = wanted.now,
        version = wanted.version
    FROM wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = %(task_id)s::uuid
      AND (wanted.title, wanted.description, wanted.is_completed)
          IS DISTINCT FROM (wanted.old_title, wanted.old_description, wanted.old_is_completed)
    RETURNING
        tasks.id, tasks.title, tasks.description, tasks.is_completed, tasks.updated_at, tasks.version, tasks AS task,
        wanted.old_title, wanted.old_description, wanted.old_is_completed
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        id,
        CASE
            WHEN is_completed = old_is_completed THEN 'UPDATED'
            WHEN is_completed THEN 'COMPLETED'
            ELSE 'INCOMPLETED'
        END,
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
            END,
            CASE WHEN is_completed <> old_is_completed
                THEN '''' || title || ''': is_completed: '
                    || CASE WHEN is_completed THEN 'false -> true' ELSE 'true -> false' END
            END
        ),
        updated_at,
        version,
        to_jsonb(answer(task)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(task))::text AS task
FROM changed
UNION ALL
SELECT
    CASE
        WHEN %(idempotency_key)s::text IS NOT NULL AND version IS DISTINCT FROM (SELECT version FROM seen) THEN 'raced'
        ELSE 'unchanged'
    END,
    row_to_json(answer(task))::text
FROM locked
WHERE NOT EXISTS (SELECT FROM changed)
UNION ALL
SELECT 'raced', NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text
FROM earlier;


-- delete_task(owner, task_id, idempotency_key, request_digest)
-- The row goes; its DELETED entry keeps the task as it was.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND %(idempotency_key)s::text IS NOT NULL
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT id, title, updated_at, version, tasks AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
changed AS (
    DELETE FROM tasks
    USING locked
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = %(task_id)s::uuid
    RETURNING locked.id, locked.title, locked.updated_at, locked.version, locked.task
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        id,
        'DELETED',
        'title: ''' || title || '''',
        greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
        version + 1,
        to_jsonb(answer(task)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(task))::text AS task
FROM changed
UNION ALL
SELECT 'raced', NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text
FROM earlier;
