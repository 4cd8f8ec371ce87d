-- What an agent looks at: a page of tasks in short, and one task with what happened to it lately.


-- list_tasks_page(owner, is_completed, pattern, excerpt, after_is_completed, after_created_at, after_id, limit)
-- Tasks in the order of list_tasks: of one state or (null) of both; with a match of the regular expression `pattern`
-- (null: any) somewhere in title or description; after the task with these sort keys (null: from the start). Of a
-- description, the first `excerpt` characters.
--
--   first    those of the state that the page begins in
--   second   as many completed ones as the page has room left for, where it began among the open ones
WITH first AS MATERIALIZED (
    SELECT tasks AS task
    FROM tasks
    WHERE owner COLLATE "POSIX" = %(owner)s::text
      AND coalesce(%(after_is_completed)s::boolean = %(is_completed)s::boolean, true)
      AND is_completed = coalesce(%(after_is_completed)s::boolean, %(is_completed)s::boolean, false)
      AND created_at <= coalesce(%(after_created_at)s::timestamptz, 'infinity')
      AND (%(after_id)s::uuid IS NULL OR created_at < %(after_created_at)s::timestamptz OR id > %(after_id)s::uuid)
      AND (
          %(pattern)s::text IS NULL
          -- Not lower(): in a database with the locale C, it knows ASCII alone.
          OR title ~ %(pattern)s::text
          OR description ~ %(pattern)s::text
      )
    ORDER BY is_completed, created_at DESC, id
    LIMIT %(limit)s::bigint
),
second AS MATERIALIZED (
    SELECT tasks AS task
    FROM tasks
    WHERE owner COLLATE "POSIX" = %(owner)s::text
      AND NOT coalesce(%(after_is_completed)s::boolean, %(is_completed)s::boolean, false)
      AND coalesce(%(is_completed)s::boolean, true)
      AND is_completed
      AND (
          %(pattern)s::text IS NULL
          OR title ~ %(pattern)s::text
          OR description ~ %(pattern)s::text
      )
    ORDER BY is_completed, created_at DESC, id
    LIMIT %(limit)s::bigint - (SELECT count(*) FROM first)
)
SELECT coalesce(json_agg(page), '[]')::text AS tasks
FROM (
    SELECT
        (task).id,
        (task).title,
        left((task).description, %(excerpt)s::integer) AS description,
        (task).is_completed,
        to_char((task).created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
        to_char((task).completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS completed_at
    FROM (TABLE first UNION ALL TABLE second) AS found
    ORDER BY (task).is_completed, (task).created_at DESC, (task).id
) AS page;


-- get_task_with_history(owner, task_id, entries)
-- One task and the latest `entries` of its history, from one snapshot; no row when there is no such task. The history
-- comes first, because migrations lock the tables in that order.
WITH history AS MATERIALIZED (
    SELECT json_agg(entry) AS entries
    FROM (
        SELECT
            action_type,
            description,
            to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
        FROM task_history
        WHERE owner = %(owner)s::text
          AND task_id = %(task_id)s::uuid
        ORDER BY version DESC
        LIMIT %(entries)s::bigint
    ) AS entry
),
found AS MATERIALIZED (
    SELECT row_to_json(answer(tasks)) AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
)
SELECT json_build_object('task', task, 'history', entries)::text AS task
FROM history, found;
