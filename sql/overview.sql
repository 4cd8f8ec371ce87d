-- What an agent looks at: a page of tasks in short, and one task with what happened to it lately.


-- list_tasks_page(owner, is_completed, pattern, excerpt, after_is_completed, after_created_at, after_id, limit)
-- Tasks in the order of list_tasks: of one state or (null) of both; with a match of the regular expression `pattern`
-- (null: any) somewhere in title or description; after the task with these sort keys (null: from the start). Of a
-- description, the first `excerpt` characters.
SELECT coalesce(json_agg(task), '[]')::text AS tasks
FROM (
    SELECT
        id,
        title,
        left(description, %(excerpt)s::integer) AS description,
        is_completed,
        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at,
        to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS completed_at
    FROM tasks
    WHERE owner COLLATE "POSIX" = %(owner)s::text
      -- Between two bounds, so that every plan begins where the state does.
      AND is_completed >= greatest(%(is_completed)s::boolean, %(after_is_completed)s::boolean, false)
      AND is_completed <= coalesce(%(is_completed)s::boolean, true)
      AND (
          %(pattern)s::text IS NULL
          -- Not lower(): in a database with the locale C, it knows ASCII alone.
          OR title ~ %(pattern)s::text
          OR description ~ %(pattern)s::text
      )
      AND (
          %(after_id)s::uuid IS NULL
          OR is_completed > %(after_is_completed)s::boolean
          OR is_completed = %(after_is_completed)s::boolean
             AND (
                 tasks.created_at < %(after_created_at)s::timestamptz
                 OR tasks.created_at = %(after_created_at)s::timestamptz AND id > %(after_id)s::uuid
             )
      )
    -- Qualified, because the bare name would be the text above, which no index holds.
    ORDER BY tasks.is_completed, tasks.created_at DESC, tasks.id
    LIMIT %(limit)s::bigint
) AS task;


-- get_task_with_history(owner, task_id, entries)
-- One task and the latest `entries` of its history, from one snapshot; no row when there is no such task.
SELECT json_build_object(
    'task', row_to_json(answer(tasks)),
    'history', (
        SELECT json_agg(entry)
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
    )
)::text AS task
FROM tasks
WHERE owner = %(owner)s::text
  AND id = %(task_id)s::uuid;
