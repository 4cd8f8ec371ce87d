-- What an agent looks at: one task, with what happened to it lately.


-- get_task_with_history(owner, task_id, entries)
-- One task and the latest `entries` of its history, from one snapshot; no row when there is no such task. The history
-- comes first, because migrations lock the tables in that order.
WITH history AS MATERIALIZED (
    SELECT json_agg(answer(entry)) AS entries
    FROM (
        SELECT task_history AS entry
        FROM task_history
        WHERE owner = %(owner)s::text
          AND task_id = %(task_id)s::uuid
        ORDER BY version DESC
        LIMIT %(entries)s::bigint
    ) AS latest
),
found AS MATERIALIZED (
    SELECT row_to_json(answer(tasks)) AS task
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
)
SELECT json_build_object('task', task, 'history', entries)::text AS task
FROM history, found;
