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
    SELECT clock_timestamp() AS now, left(gen_random_uuid()::text, 8) AS start
    WHERE NOT EXISTS (SELECT FROM earlier)
),
wanted AS MATERIALIZED (
    SELECT
        -- Made here, because RETURNING could not tell which row is which. Each is a random UUID, and all of a request
        -- start with the same 32 bits: they are neighbours in the indexes, which write one page instead of many.
        (moment.start || substr(gen_random_uuid()::text, 9))::uuid AS id,
        task,
        moment.now + place * interval '1 microsecond' AS now,
        place - 1 AS entry
    FROM moment, jsonb_array_elements(%(tasks)s::jsonb) WITH ORDINALITY AS asked (task, place)
),
changed AS (
    INSERT INTO tasks (owner, id, title, description, created_at, updated_at)
    SELECT %(owner)s::text, id, task ->> 'title', task ->> 'description', now, now
    FROM wanted
    RETURNING tasks AS after
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest,
        request_entry
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
        %(request_digest)s::bytea,
        wanted.entry
    FROM changed
    JOIN wanted ON wanted.id = (after).id
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
-- A JSON array of objects: the id of each task, and what is to change of it, as for change_task.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT (change ->> 'id')::uuid AS id, change, place
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
    SELECT id, version, tasks AS before
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
    SELECT greatest(clock_timestamp(), max((before).updated_at) + interval '1 microsecond') AS now
    FROM locked
),
merged AS MATERIALIZED (
    SELECT locked.id, before, jsonb_populate_record(before, change) AS task, place
    FROM locked
    JOIN asked ON asked.id = locked.id
    WHERE NOT EXISTS (SELECT FROM missing)
),
wanted AS MATERIALIZED (
    SELECT
        id,
        before,
        task,
        moment.now + place * interval '1 microsecond' AS now,
        row_number() OVER (ORDER BY place) - 1 AS entry
    FROM merged, moment
    WHERE task IS DISTINCT FROM before
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
      AND tasks.id = wanted.id
      -- Said twice, so that no plan reads all tasks to find these.
      AND tasks.id = ANY (ARRAY(SELECT id FROM wanted))
    RETURNING before, tasks AS after, entry
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest,
        request_entry
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
    SELECT id, version, tasks AS before
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
    SELECT greatest(clock_timestamp(), max((before).updated_at) + interval '1 microsecond') AS now
    FROM locked
),
wanted AS MATERIALIZED (
    SELECT
        locked.id,
        before,
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
    RETURNING before, now, entry
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest,
        request_entry
    )
    SELECT
        %(owner)s::text,
        (before).id,
        'DELETED',
        'title: ''' || (before).title || '''',
        now,
        (before).version + 1,
        to_jsonb(answer(before)),
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
