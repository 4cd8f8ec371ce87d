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


-- create_tasks(tasks, idempotency_key, request_digest)
-- A JSON array of {title, description}: that many tasks and their CREATED entries.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
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
    INSERT INTO tasks (id, title, description, created_at, updated_at)
    SELECT id, title, description, now, now
    FROM wanted
    RETURNING id, title, description, is_completed, created_at, updated_at, completed_at, version
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest, request_entry
    )
    SELECT
        changed.id,
        'CREATED',
        'title: ''' || changed.title || '''',
        changed.updated_at,
        changed.version,
        jsonb_build_object(
            'id', changed.id,
            'title', changed.title,
            'description', changed.description,
            'is_completed', changed.is_completed,
            'created_at', to_char(changed.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'updated_at', to_char(changed.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'completed_at', to_char(changed.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ),
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        wanted.entry
    FROM changed
    JOIN wanted ON wanted.id = changed.id
    RETURNING request_entry, snapshot
)
SELECT 'written' AS outcome, json_agg(snapshot ORDER BY request_entry)::text AS tasks
FROM logged
HAVING count(*) > 0
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(snapshot ORDER BY request_entry)::text
FROM earlier
HAVING count(*) > 0;


-- set_tasks_completed(task_ids, is_completed, idempotency_key, request_digest)
-- COMPLETED or INCOMPLETED for each of the tasks that is not so already.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT id, place
    FROM unnest(%(task_ids)s::uuid[]) WITH ORDINALITY AS asked (id, place)
    WHERE NOT EXISTS (SELECT FROM earlier)
),
seen AS MATERIALIZED (
    SELECT tasks.id, tasks.version
    FROM asked
    JOIN tasks ON tasks.id = asked.id
    WHERE %(idempotency_key)s::text IS NOT NULL
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, created_at, updated_at, completed_at, version
    FROM tasks
    WHERE id = ANY (%(task_ids)s::uuid[])
      AND NOT EXISTS (SELECT FROM earlier)
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
        moment.now + asked.place * interval '1 microsecond' AS now,
        locked.version + 1 AS version,
        row_number() OVER (ORDER BY asked.place) - 1 AS entry
    FROM locked
    JOIN asked ON asked.id = locked.id
    CROSS JOIN moment
    WHERE locked.is_completed <> %(is_completed)s::boolean
      AND NOT EXISTS (SELECT FROM missing)
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
        tasks.completed_at, tasks.version, wanted.entry
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest, request_entry
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
        %(request_digest)s::bytea,
        entry
    FROM changed
    RETURNING request_entry, snapshot
)
SELECT 'written' AS outcome, json_agg(snapshot ORDER BY request_entry)::text AS tasks
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
    json_agg(snapshot ORDER BY request_entry)::text
FROM earlier
HAVING count(*) > 0;


-- delete_tasks(task_ids, idempotency_key, request_digest)
-- The rows go; their DELETED entries keep the tasks as they were.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, snapshot
    FROM task_history
    WHERE idempotency_key = %(idempotency_key)s::text
),
asked AS MATERIALIZED (
    SELECT id, place
    FROM unnest(%(task_ids)s::uuid[]) WITH ORDINALITY AS asked (id, place)
    WHERE NOT EXISTS (SELECT FROM earlier)
),
seen AS MATERIALIZED (
    SELECT tasks.id
    FROM asked
    JOIN tasks ON tasks.id = asked.id
    WHERE %(idempotency_key)s::text IS NOT NULL
),
locked AS MATERIALIZED (
    SELECT id, title, description, is_completed, created_at, updated_at, completed_at, version
    FROM tasks
    WHERE id = ANY (%(task_ids)s::uuid[])
      AND NOT EXISTS (SELECT FROM earlier)
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
changed AS (
    DELETE FROM tasks
    USING locked
    JOIN asked ON asked.id = locked.id
    CROSS JOIN moment
    WHERE tasks.id = locked.id
      AND NOT EXISTS (SELECT FROM missing)
    RETURNING
        locked.id, locked.title, locked.description, locked.is_completed, locked.created_at, locked.updated_at,
        locked.completed_at, locked.version, asked.place, moment.now
),
logged AS (
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest, request_entry
    )
    SELECT
        id,
        'DELETED',
        'title: ''' || title || '''',
        now + place * interval '1 microsecond',
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
        %(request_digest)s::bytea,
        place - 1
    FROM changed
    RETURNING request_entry, snapshot
)
SELECT 'written' AS outcome, json_agg(snapshot ORDER BY request_entry)::text AS tasks
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
    json_agg(snapshot ORDER BY request_entry)::text
FROM earlier
HAVING count(*) > 0;
