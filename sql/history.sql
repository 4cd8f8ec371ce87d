-- The pages of the history, newest first, each with the exact number of entries in its selection.
--
-- Three statements, because each has an index of its own. An entry's timestamp is later than that of every earlier
-- entry of its task, so that (timestamp, history_id) is a total order in which no task's entries change places.


-- list_history(limit, offset)
-- A page of all entries.
SELECT
    (SELECT count(*) FROM task_history) AS total_count,
    (
        SELECT coalesce(json_agg(entry), '[]')::text
        FROM (
            SELECT
                history_id,
                task_id,
                action_type,
                description,
                to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
            FROM task_history
            -- Qualified, because the bare name would be the text above, which no index holds.
            ORDER BY task_history.timestamp DESC, history_id DESC
            LIMIT %(limit)s::bigint OFFSET %(offset)s::bigint
        ) AS entry
    ) AS items;


-- list_history_by_action(action_type, limit, offset)
-- A page of the entries of one action.
SELECT
    (SELECT count(*) FROM task_history WHERE action_type = %(action_type)s::text) AS total_count,
    (
        SELECT coalesce(json_agg(entry), '[]')::text
        FROM (
            SELECT
                history_id,
                task_id,
                action_type,
                description,
                to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
            FROM task_history
            WHERE action_type = %(action_type)s::text
            ORDER BY task_history.timestamp DESC, history_id DESC
            LIMIT %(limit)s::bigint OFFSET %(offset)s::bigint
        ) AS entry
    ) AS items;


-- list_history_by_task(task_id, action_type, limit, offset)
-- A page of one task's entries, of one action or (null) of all: by version, which is the order of their timestamps.
SELECT
    (
        SELECT count(*)
        FROM task_history
        WHERE task_id = %(task_id)s::uuid
          AND (%(action_type)s::text IS NULL OR action_type = %(action_type)s::text)
    ) AS total_count,
    (
        SELECT coalesce(json_agg(entry), '[]')::text
        FROM (
            SELECT
                history_id,
                task_id,
                action_type,
                description,
                to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
            FROM task_history
            WHERE task_id = %(task_id)s::uuid
              AND (%(action_type)s::text IS NULL OR action_type = %(action_type)s::text)
            ORDER BY version DESC
            LIMIT %(limit)s::bigint OFFSET %(offset)s::bigint
        ) AS entry
    ) AS items;
