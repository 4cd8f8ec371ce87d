-- Writes on many tasks: all of them or none, in one statement, which reads like those of sql/tasks.sql.
--
-- What is different:
--   earlier   every entry that the key has written, in the order in which it wrote them
--   asked     the tasks that the request names, with their places in it
--   locked    always in the order of the ids, so that two such writes never wait for each other
--   missing   the tasks that are not there: with one of them, nothing is written
--   moment    one time for all, read when the last lock is held; each entry is a microsecond after the one before,
--             so that lists and history show the order of the request
-- The answer is (outcome, tasks): an array of the tasks that changed, in the order of the request. With the outcome
-- missing, it is an array of the ids. A key is kept by the entries of the tasks that changed; those that did not change
-- are the other ones of the request, which is the same whenever the key is the same.


-- create_tasks(owner, tasks, idempotency_key, request_digest)
-- A JSON array of {title, description}: that many tasks and their CREATED entries.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
moment AS MATERIALIZED (
    SELECT clock_timestamp() AS now
    WHERE NOT EXISTS (SELECT FROM earlier)
),
wanted AS MATERIALIZED (
    SELECT
        -- Made here, because RETURNING could not tell which row is which.
        gen_random_uuid() AS id,
        task ->> 'title' AS title,
        task ->> 'description' AS description,
        moment.now + place * interval '1 microsecond' AS now,
        place - 1 AS entry
    FROM moment, jsonb_array_elements(%(tasks)s::jsonb) WITH ORDINALITY AS asked (task, place)
),
changed AS (
    INSERT INTO tasks (owner, id, title, description, created_at, updated_at)
    SELECT %(owner)s::text, id, title, description, now, now
    FROM wanted
    RETURNING id, title, updated_at, version, tasks AS task
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest,
        request_entry
    )
    SELECT
        %(owner)s::text,
        changed.id,
        'CREATED',
        'title: ''' || changed.title || '''',
        changed.updated_at,
        changed.version,
        to_jsonb(answer(task)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        wanted.entry
    FROM changed
    JOIN wanted ON wanted.id = changed.id
    RETURNING request_entry, snapshot
)
SELECT 'written' AS outcome, json_agg(answer(snapshot) ORDER BY request_entry)::text AS tasks
FROM logged
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(answer(snapshot) ORDER BY request_entry)::text
FROM earlier
HAVING count(*) > 0;


-- change_tasks(owner, changes, idempotency_key, request_digest)
-- A JSON array of {id, title, description, is_completed}, in which what is absent stays: the entries are UPDATED,
-- COMPLETED or INCOMPLETED, for each of the tasks that is not so already.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT
        (change ->> 'id')::uuid AS id,
        change ->> 'title' AS title,
        change ? 'description' AS sets_description,
        change ->> 'description' AS description,
        (change ->> 'is_completed')::boolean AS is_completed,
        place
    FROM jsonb_array_elements(%(changes)s::jsonb) WITH ORDINALITY AS asked (change, place)
    WHERE NOT EXISTS (SELECT FROM earlier)
),
seen AS MATERIALIZED (
    SELECT id, version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
      AND %(idempotency_key)s::text IS NOT NULL
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, completed_at, updated_at, version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
    ORDER BY id
    FOR UPDATE
),
missing AS MATERIALIZED (
    SELECT id, place
    FROM asked
    WHERE id NOT IN (SELECT id FROM locked)
),
moment AS MATERIALIZED (
    SELECT greatest(clock_timestamp(), max(updated_at) + interval '1 microsecond') AS now
    FROM locked
),
wanted AS MATERIALIZED (
    SELECT
        locked.id,
        locked.title AS old_title,
        locked.description AS old_description,
        locked.is_completed AS old_is_completed,
        locked.completed_at,
        coalesce(asked.title, locked.title) AS title,
        CASE WHEN asked.sets_description THEN asked.description ELSE locked.description END AS description,
        coalesce(asked.is_completed, locked.is_completed) AS is_completed,
        moment.now + asked.place * interval '1 microsecond' AS now,
        locked.version + 1 AS version,
        row_number() OVER (ORDER BY asked.place) - 1 AS entry
    FROM locked
    JOIN asked ON asked.id = locked.id
    CROSS JOIN moment
    WHERE NOT EXISTS (SELECT FROM missing)
      AND (
          coalesce(asked.title, locked.title),
          CASE WHEN asked.sets_description THEN asked.description ELSE locked.description END,
          coalesce(asked.is_completed, locked.is_completed)
      ) IS DISTINCT FROM (locked.title, locked.description, locked.is_completed)
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
      AND tasks.id = wanted.id
      -- Said twice, so that no plan reads all tasks to find these.
      AND tasks.id = ANY (ARRAY(SELECT id FROM wanted))
    RETURNING
        tasks.id, tasks.title, tasks.description, tasks.is_completed, tasks.updated_at, tasks.version, tasks AS task,
        wanted.old_title, wanted.old_description, wanted.old_is_completed, wanted.entry
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest,
        request_entry
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
        %(request_digest)s::bytea,
        entry
    FROM changed
    RETURNING request_entry, snapshot
)
SELECT 'written' AS outcome, json_agg(answer(snapshot) ORDER BY request_entry)::text AS tasks
FROM logged
HAVING count(*) > 0
UNION ALL
SELECT
    CASE
        WHEN EXISTS (
            SELECT FROM seen LEFT JOIN locked ON locked.id = seen.id WHERE locked.version IS DISTINCT FROM seen.version
        ) THEN 'raced'
        WHEN EXISTS (SELECT FROM missing) THEN 'missing'
        ELSE 'unchanged'
    END,
    (SELECT coalesce(json_agg(id ORDER BY place), '[]')::text FROM missing)
WHERE NOT EXISTS (SELECT FROM logged)
  AND NOT EXISTS (SELECT FROM earlier)
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(answer(snapshot) ORDER BY request_entry)::text
FROM earlier
HAVING count(*) > 0;


-- delete_tasks(owner, task_ids, idempotency_key, request_digest)
-- The rows go; their DELETED entries keep the tasks as they were.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT id, place
    FROM unnest(%(task_ids)s::uuid[]) WITH ORDINALITY AS asked (id, place)
    WHERE NOT EXISTS (SELECT FROM earlier)
),
seen AS MATERIALIZED (
    SELECT id, version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
      AND %(idempotency_key)s::text IS NOT NULL
),
locked AS MATERIALIZED (
    SELECT id, title, updated_at, version, tasks AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
    ORDER BY id
    FOR UPDATE
),
missing AS MATERIALIZED (
    SELECT id, place
    FROM asked
    WHERE id NOT IN (SELECT id FROM locked)
),
moment AS MATERIALIZED (
    SELECT greatest(clock_timestamp(), max(updated_at) + interval '1 microsecond') AS now
    FROM locked
),
wanted AS MATERIALIZED (
    SELECT
        locked.id,
        locked.title,
        locked.version,
        locked.task,
        moment.now + asked.place * interval '1 microsecond' AS now,
        asked.place - 1 AS entry
    FROM locked
    JOIN asked ON asked.id = locked.id
    CROSS JOIN moment
    WHERE NOT EXISTS (SELECT FROM missing)
),
changed AS (
    DELETE FROM tasks
    USING wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = wanted.id
      -- Said twice, so that no plan reads all tasks to find these.
      AND tasks.id = ANY (ARRAY(SELECT id FROM wanted))
    RETURNING wanted.id, wanted.title, wanted.version, wanted.task, wanted.now, wanted.entry
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest,
        request_entry
    )
    SELECT
        %(owner)s::text,
        id,
        'DELETED',
        'title: ''' || title || '''',
        now,
        version + 1,
        to_jsonb(answer(task)),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        entry
    FROM changed
    RETURNING request_entry, snapshot
)
SELECT 'written' AS outcome, json_agg(answer(snapshot) ORDER BY request_entry)::text AS tasks
FROM logged
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN EXISTS (SELECT FROM seen WHERE id NOT IN (SELECT id FROM locked)) THEN 'raced' ELSE 'missing' END,
    (SELECT json_agg(id ORDER BY place)::text FROM missing)
WHERE EXISTS (SELECT FROM missing)
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(answer(snapshot) ORDER BY request_entry)::text
FROM earlier
HAVING count(*) > 0;
