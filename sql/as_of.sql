-- Time travel: what was there at a moment, changes at that moment included. An entry's snapshot is the task from its
-- timestamp on, until that of the next one; DELETED ends it.
--
-- The answers begin with an outcome: known, or to_come (the moment is later than the database's clock allows).


-- get_task_as_of(owner, task_id, as_of)
-- The task as it was, and the version that it had; no row when it was not there.
SELECT 'known' AS outcome, row_to_json(answer(snapshot))::text AS task, version
FROM entry_as_of(%(owner)s::text, %(task_id)s::uuid, %(as_of)s::timestamptz)
WHERE action_type <> 'DELETED'
  AND has_come(%(as_of)s::timestamptz)
UNION ALL
SELECT 'to_come', NULL, NULL
WHERE NOT has_come(%(as_of)s::timestamptz);


-- list_tasks_as_of(owner, as_of, is_completed, after_is_completed, after_created_at, after_id, walk, limit)
-- A page of the list as it was: of one state or (null) of both; after the task with these sort keys (null: from the
-- start).
--
--   first    those of the state that the page begins in: the newest `walk` tasks are looked at one by one
--   second   as many completed ones as the page has room left for, where it began among the open ones
--   near     whether both are the page: all tasks were looked at that could have a place in it
--   far      else the page, found by looking at the actions of all entries at once
-- The answer is (outcome, tasks, last): where there are more tasks, `last` has the sort keys of the page's last one.
WITH first AS MATERIALIZED (
    SELECT *
    FROM newest_as_of(
        %(owner)s::text,
        %(as_of)s::timestamptz,
        coalesce(%(after_is_completed)s::boolean, %(is_completed)s::boolean, false),
        %(after_created_at)s::timestamptz,
        %(after_id)s::uuid,
        %(walk)s::bigint
    )
    WHERE has_come(%(as_of)s::timestamptz)
    ORDER BY created_at DESC, id
    LIMIT %(limit)s::bigint + 1
),
second AS MATERIALIZED (
    SELECT *
    FROM newest_as_of(%(owner)s::text, %(as_of)s::timestamptz, true, NULL, NULL, %(walk)s::bigint)
    WHERE has_come(%(as_of)s::timestamptz)
      AND NOT coalesce(%(after_is_completed)s::boolean, %(is_completed)s::boolean, false)
      AND %(is_completed)s::boolean IS NULL
    ORDER BY created_at DESC, id
    LIMIT %(limit)s::bigint + 1 - (SELECT count(*) FROM first)
),
near AS MATERIALIZED (
    SELECT CASE
        WHEN NOT has_come(%(as_of)s::timestamptz) OR (SELECT count(*) FROM first) > %(limit)s::bigint THEN true
        WHEN exceeds(
            %(owner)s::text,
            least(%(as_of)s::timestamptz, %(after_created_at)s::timestamptz),
            %(walk)s::bigint
        ) THEN false
        ELSE coalesce(%(after_is_completed)s::boolean, false)
            OR %(is_completed)s::boolean IS NOT NULL
            OR (SELECT count(*) FROM first) + (SELECT count(*) FROM second) > %(limit)s::bigint
            OR NOT exceeds(%(owner)s::text, %(as_of)s::timestamptz, %(walk)s::bigint)
    END AS is_page
),
page AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY is_completed, created_at DESC, id) AS place
    FROM (
        SELECT found.*
        FROM (TABLE first UNION ALL TABLE second) AS found
        WHERE (SELECT is_page FROM near)
        UNION ALL
        SELECT found.*, entry.snapshot
        FROM far_as_of(
            %(owner)s::text,
            %(as_of)s::timestamptz,
            %(is_completed)s::boolean,
            %(after_is_completed)s::boolean,
            %(after_created_at)s::timestamptz,
            %(after_id)s::uuid,
            %(limit)s::bigint + 1
        ) AS found
        CROSS JOIN LATERAL entry_as_of(%(owner)s::text, found.id, %(as_of)s::timestamptz) AS entry
        WHERE NOT (SELECT is_page FROM near)
    ) AS found
)
SELECT
    CASE WHEN has_come(%(as_of)s::timestamptz) THEN 'known' ELSE 'to_come' END AS outcome,
    coalesce(json_agg(answer(task) ORDER BY place) FILTER (WHERE place <= %(limit)s::bigint), '[]')::text AS tasks,
    CASE
        WHEN count(*) > %(limit)s::bigint THEN (
            SELECT row_to_json(last)::text
            FROM (
                SELECT
                    id,
                    is_completed,
                    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at
                FROM page
                WHERE place = %(limit)s::bigint
            ) AS last
        )
    END AS last
FROM page;


-- list_versions(owner, task_id, after, limit)
-- A task's versions after one of them, oldest first, also of a deleted task; no row when there never was such a task.
-- Each has what it changed, as {field: [old, new]}: of the first one, the old values are null; of DELETED, nothing.
WITH entries AS MATERIALIZED (
    SELECT task_history AS entry, lag(snapshot) OVER (ORDER BY version) AS before
    FROM task_history
    WHERE owner = %(owner)s::text
      AND task_id = %(task_id)s::uuid
      AND version >= %(after)s::integer
    ORDER BY version
    -- One more on either side: what the first one changed, and whether there are more.
    LIMIT %(limit)s::bigint + 2
),
page AS MATERIALIZED (
    SELECT
        row_number() OVER (ORDER BY (entry).version) AS place,
        ROW(
            (entry).version,
            (entry).history_id,
            (entry).action_type,
            to_char((entry).timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            (entry).actor,
            (entry).request_id,
            (entry).change_set,
            (
                SELECT coalesce(json_strip_nulls(json_object_agg(field, changed)), '{}')
                FROM unnest(ARRAY['title', 'description', 'is_completed', 'completed_at']) AS field
                CROSS JOIN LATERAL (
                    SELECT array_to_json(ARRAY[before -> field, (entry).snapshot -> field]) AS changed
                ) AS values
                WHERE (entry).action_type <> 'DELETED'
                  AND before ->> field IS DISTINCT FROM (entry).snapshot ->> field
            ),
            CASE WHEN (entry).action_type <> 'DELETED' THEN answer((entry).snapshot) END
        )::version_answer AS version
    FROM entries
    WHERE (entry).version > %(after)s::integer
)
SELECT
    coalesce(json_agg(version ORDER BY place) FILTER (WHERE place <= %(limit)s::bigint), '[]')::text AS items,
    count(*) > %(limit)s::bigint AS has_more
FROM page
HAVING EXISTS (
    SELECT
    FROM task_history
    WHERE owner = %(owner)s::text
      AND task_id = %(task_id)s::uuid
);
