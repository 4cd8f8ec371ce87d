-- Writes on many tasks: all of them or none, in one statement, which reads like those of sql/tasks.sql.
--
-- What is different:
--   earlier     every entry that the key has written, in the order in which it wrote them
--   asked       the tasks that the request names, each with its place in it, and the version that it must have, if any
--   seen        also what a replay tells about the tasks that the request had not changed: they are as they are now
--   locked      always in the order of the ids, so that two such writes never wait for each other
--   missing     the tasks that are not there: with one of them, nothing is written
--   mismatched  the tasks that are at another version: the same
--   raced       the tasks that changed while this statement waited for its locks
--   moment      one time for all, read when the last lock is held; each entry is a microsecond after the one before,
--               so that lists and history show the order of the request
-- The answer is (outcome, tasks, changed): an array of all tasks, in the order of the request, as they are after it (of
-- a deletion: as they were), and the places, from 0 on, of those that changed. With the outcome missing, `tasks` is an
-- array of the ids; with mismatch, one of objects, of which the first five say what changed since. A key is kept by the
-- entries of the tasks that changed; those that did not change are the other ones of the request, which is the same
-- whenever the key is the same.


-- create_tasks(owner, tasks, actor, request_id, change_set, idempotency_key, request_digest)
-- A JSON array of {title, description}: that many tasks and their CREATED entries.
WITH earlier AS MATERIALIZED (
    SELECT task_id, request_digest, request_entry, snapshot
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
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest, request_entry
    )
    SELECT
        %(owner)s::text,
        (after).id,
        'CREATED',
        'title: ''' || (after).title || '''',
        (after).updated_at,
        (after).version,
        to_jsonb(answer(after)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        wanted.entry
    FROM changed
    JOIN wanted ON wanted.id = (after).id
    RETURNING request_entry, snapshot
)
SELECT
    'written' AS outcome,
    json_agg(answer(snapshot) ORDER BY request_entry)::text AS tasks,
    array_agg(request_entry ORDER BY request_entry) AS changed
FROM logged
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(answer(snapshot) ORDER BY request_entry)::text,
    array_agg(request_entry ORDER BY request_entry)
FROM earlier
HAVING count(*) > 0;


-- change_tasks(owner, elements, actor, request_id, change_set, idempotency_key, request_digest)
-- A JSON array of objects: the id of each task, what is to change of it, as for change_task, and maybe its `version`.
WITH earlier AS MATERIALIZED (
    SELECT task_id, request_digest, request_entry, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT (element ->> 'id')::uuid AS id, (element ->> 'version')::integer AS expected, element, place
    FROM jsonb_array_elements(%(elements)s::jsonb) WITH ORDINALITY AS asked (element, place)
),
seen AS MATERIALIZED (
    SELECT id, version, tasks AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
      AND (%(idempotency_key)s::text IS NOT NULL OR EXISTS (SELECT FROM asked WHERE expected IS NOT NULL))
),
locked AS MATERIALIZED (
    SELECT id, version, tasks AS before
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
      AND NOT EXISTS (SELECT FROM earlier)
    ORDER BY id
    FOR UPDATE
),
missing AS MATERIALIZED (
    SELECT id, place
    FROM asked
    WHERE id NOT IN (SELECT id FROM locked)
      AND NOT EXISTS (SELECT FROM earlier)
),
mismatched AS MATERIALIZED (
    SELECT locked.id, version, before, expected, row_number() OVER (ORDER BY place) AS number
    FROM locked
    JOIN asked ON asked.id = locked.id
    WHERE version <> expected
      AND NOT EXISTS (SELECT FROM missing)
),
raced AS MATERIALIZED (
    SELECT seen.id
    FROM seen
    LEFT JOIN locked ON locked.id = seen.id
    WHERE locked.version IS DISTINCT FROM seen.version
),
moment AS MATERIALIZED (
    SELECT greatest(clock_timestamp(), max((before).updated_at) + interval '1 microsecond') AS now
    FROM locked
),
merged AS MATERIALIZED (
    SELECT locked.id, before, jsonb_populate_record(before, element) AS task, place
    FROM locked
    JOIN asked ON asked.id = locked.id
    WHERE NOT EXISTS (SELECT FROM missing)
      AND NOT EXISTS (SELECT FROM mismatched)
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
    RETURNING tasks.id, before, tasks AS after, entry
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest, request_entry
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
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        entry
    FROM changed
)
SELECT
    CASE
        WHEN EXISTS (SELECT FROM changed) THEN 'written'
        WHEN EXISTS (SELECT FROM raced) THEN 'raced'
        ELSE 'unchanged'
    END AS outcome,
    json_agg(answer(coalesce(after, merged.before)) ORDER BY place)::text AS tasks,
    array_agg(place - 1 ORDER BY place) FILTER (WHERE changed.id IS NOT NULL) AS changed
FROM merged
LEFT JOIN changed ON changed.id = merged.id
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN EXISTS (SELECT FROM raced) THEN 'raced' ELSE 'missing' END,
    json_agg(id ORDER BY place)::text,
    NULL
FROM missing
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN EXISTS (SELECT FROM raced) THEN 'raced' ELSE 'mismatch' END,
    json_agg(
        json_build_object(
            'id', id,
            'version', version,
            'expected', expected,
            'changes', CASE WHEN number <= 5 THEN changes_since(before, ARRAY[expected]) END
        ) ORDER BY number
    )::text,
    NULL
FROM mismatched
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(
        CASE
            WHEN earlier.task_id IS NOT NULL THEN answer(snapshot)
            WHEN seen.id IS NOT NULL THEN answer(task)
        END ORDER BY place
    )::text,
    array_agg(place - 1 ORDER BY place) FILTER (WHERE earlier.task_id IS NOT NULL)
FROM asked
LEFT JOIN earlier ON earlier.task_id = asked.id
LEFT JOIN seen ON seen.id = asked.id
WHERE EXISTS (SELECT FROM earlier)
HAVING count(*) > 0;


-- delete_tasks(owner, elements, actor, request_id, change_set, idempotency_key, request_digest)
-- A JSON array of objects: the id of each task, and maybe its `version`. The rows go; their DELETED entries keep the
-- tasks as they were.
WITH earlier AS MATERIALIZED (
    SELECT task_id, request_digest, request_entry, snapshot
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT (element ->> 'id')::uuid AS id, (element ->> 'version')::integer AS expected, element, place
    FROM jsonb_array_elements(%(elements)s::jsonb) WITH ORDINALITY AS asked (element, place)
),
seen AS MATERIALIZED (
    SELECT id, version, tasks AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
      AND (%(idempotency_key)s::text IS NOT NULL OR EXISTS (SELECT FROM asked WHERE expected IS NOT NULL))
),
locked AS MATERIALIZED (
    SELECT id, version, tasks AS before
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked))
      AND NOT EXISTS (SELECT FROM earlier)
    ORDER BY id
    FOR UPDATE
),
missing AS MATERIALIZED (
    SELECT id, place
    FROM asked
    WHERE id NOT IN (SELECT id FROM locked)
      AND NOT EXISTS (SELECT FROM earlier)
),
mismatched AS MATERIALIZED (
    SELECT locked.id, version, before, expected, row_number() OVER (ORDER BY place) AS number
    FROM locked
    JOIN asked ON asked.id = locked.id
    WHERE version <> expected
      AND NOT EXISTS (SELECT FROM missing)
),
raced AS MATERIALIZED (
    SELECT seen.id
    FROM seen
    LEFT JOIN locked ON locked.id = seen.id
    WHERE locked.version IS DISTINCT FROM seen.version
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
      AND NOT EXISTS (SELECT FROM mismatched)
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
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest, request_entry
    )
    SELECT
        %(owner)s::text,
        (before).id,
        'DELETED',
        'title: ''' || (before).title || '''',
        now,
        (before).version + 1,
        to_jsonb(answer(before)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        entry
    FROM changed
)
SELECT
    'written' AS outcome,
    json_agg(answer(before) ORDER BY entry)::text AS tasks,
    array_agg(entry::integer ORDER BY entry) AS changed
FROM changed
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN EXISTS (SELECT FROM raced) THEN 'raced' ELSE 'missing' END,
    json_agg(id ORDER BY place)::text,
    NULL
FROM missing
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN EXISTS (SELECT FROM raced) THEN 'raced' ELSE 'mismatch' END,
    json_agg(
        json_build_object(
            'id', id,
            'version', version,
            'expected', expected,
            'changes', CASE WHEN number <= 5 THEN changes_since(before, ARRAY[expected]) END
        ) ORDER BY number
    )::text,
    NULL
FROM mismatched
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(answer(snapshot) ORDER BY request_entry)::text,
    array_agg(request_entry ORDER BY request_entry)
FROM earlier
HAVING count(*) > 0;
