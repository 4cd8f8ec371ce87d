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
--   changed   the row before and after the change, when there is one
--   logged    the history entry
-- The answer is (outcome, task): written, unchanged, replayed (the key's first answer again), key_reused (the key
-- belongs to another request), raced (run the statement again: the key's entry is there now); no row: no such task.
--
-- How a task looks is said once: answer(tasks) has its fields in the contract's order, and times as text. A snapshot is
-- jsonb, which orders keys its own way: answer(jsonb) puts them back. What a change says to people is said once, too:
-- difference(before, after).
--
-- Each key and each index begins with the owner. `owner` alone finds the keys; the indexes of lists are found by
-- `owner COLLATE "POSIX"`, which means the same. So no plan can take a list's index for a key's, whatever Postgres
-- knows or does not know about the table when it makes the plan (docs/decisions/0013).


-- create_task(owner, task, idempotency_key, request_digest)
-- A JSON object of title and description: one task and its CREATED entry.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
wanted AS MATERIALIZED (
    SELECT %(task)s::jsonb AS task, clock_timestamp() AS now
    WHERE NOT EXISTS (SELECT FROM earlier)
),
changed AS (
    INSERT INTO tasks (owner, title, description, created_at, updated_at)
    SELECT %(owner)s::text, task ->> 'title', task ->> 'description', now, now
    FROM wanted
    RETURNING tasks AS after
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (after).id,
        'CREATED',
        'title: ''' || (after).title || '''',
        (after).updated_at,
        (after).version,
        to_jsonb(answer(after)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(after))::text AS task
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


-- change_task(owner, task_id, changes, idempotency_key, request_digest)
-- `changes` is a JSON object of title, description and is_completed; what it does not have stays as it is. The entry is
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
    SELECT tasks AS before
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
wanted AS MATERIALIZED (
    SELECT
        before,
        jsonb_populate_record(before, %(changes)s::jsonb) AS task,
        greatest(clock_timestamp(), (before).updated_at + interval '1 microsecond') AS now
    FROM locked
),
changed AS (
    UPDATE tasks
    SET title = (task).title,
        description = (task).description,
        is_completed = (task).is_completed,
        completed_at = CASE
            WHEN (task).is_completed = (before).is_completed THEN (before).completed_at
            WHEN (task).is_completed THEN now
        END,
        updated_at = now,
        version = (before).version + 1
    FROM wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = %(task_id)s::uuid
      AND task IS DISTINCT FROM before
    RETURNING before, tasks AS after
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (after).id,
        CASE
            WHEN (after).is_completed = (before).is_completed THEN 'UPDATED'
            WHEN (after).is_completed THEN 'COMPLETED'
            ELSE 'INCOMPLETED'
        END,
        difference(before, after),
        (after).updated_at,
        (after).version,
        to_jsonb(answer(after)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(after))::text AS task
FROM changed
UNION ALL
SELECT
    CASE
        WHEN %(idempotency_key)s::text IS NOT NULL AND (before).version IS DISTINCT FROM (SELECT version FROM seen)
            THEN 'raced'
        ELSE 'unchanged'
    END,
    row_to_json(answer(before))::text
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
    SELECT tasks AS before
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
    RETURNING before
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (before).id,
        'DELETED',
        'title: ''' || (before).title || '''',
        greatest(clock_timestamp(), (before).updated_at + interval '1 microsecond'),
        (before).version + 1,
        to_jsonb(answer(before)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(before))::text AS task
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
