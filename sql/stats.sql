-- Figures about the tasks that exist: what sql/totals.sql keeps, and what it has not counted yet. So they are exact, in
-- the snapshot that the statement sees:
--   counted   what the totals know, and up to which snapshot
--   entries   the entries that this snapshot has not seen
--   moves     what they change: the task after a change counts (sign 1), and the task before it does so no more (-1).
--             A change of texts alone moves nothing.


-- weekly_stats(owner, at)
-- The UTC week (Monday to Sunday) that holds the moment `at` (null: now), from one snapshot. The answer is
-- (stats, uncounted): where uncounted entries are many, the caller runs fold_totals().
WITH week AS MATERIALIZED (
    SELECT
        monday AT TIME ZONE 'UTC' AS starts,
        (monday + interval '7 days') AT TIME ZONE 'UTC' AS next_starts,
        to_char(monday, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS week_start,
        to_char(monday + interval '7 days' - interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS week_end
    FROM date_trunc('week', coalesce(%(at)s::timestamptz, clock_timestamp()) AT TIME ZONE 'UTC') AS monday
),
counted AS MATERIALIZED (
    SELECT
        coalesce(upto, '1:1:') AS upto,
        coalesce(created + restored - deleted, 0) AS tasks,
        coalesce(complete, 0) AS complete
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN task_totals ON task_totals.owner = asked.owner
),
entries AS MATERIALIZED (
    SELECT entry.task_id, entry.version, entry.action_type, entry.snapshot
    FROM counted, unseen(%(owner)s::text, counted.upto) AS entry
),
moves AS MATERIALIZED (
    SELECT
        1 AS sign,
        snapshot -> 'is_completed' = 'true' AS is_completed,
        (snapshot ->> 'created_at')::timestamptz AS created_at,
        (snapshot ->> 'completed_at')::timestamptz AS completed_at
    FROM entries
    WHERE action_type <> 'DELETED'
      AND (action_type <> 'UPDATED' OR snapshot ->> 'completed_at' IS NOT NULL)
    UNION ALL
    SELECT
        -1,
        before.snapshot -> 'is_completed' = 'true',
        (before.snapshot ->> 'created_at')::timestamptz,
        (before.snapshot ->> 'completed_at')::timestamptz
    FROM entries
    CROSS JOIN LATERAL (
        SELECT snapshot
        FROM task_history
        WHERE owner = %(owner)s::text
          AND task_id = entries.task_id
          AND version = entries.version - 1
        OFFSET 0
    ) AS before
    WHERE entries.action_type NOT IN ('CREATED', 'RESTORED')
      AND (entries.action_type <> 'UPDATED' OR entries.snapshot ->> 'completed_at' IS NOT NULL)
),
figures AS MATERIALIZED (
    SELECT
        coalesce(sum(sign), 0) AS tasks,
        coalesce(sum(sign) FILTER (WHERE is_completed), 0) AS complete,
        coalesce(sum(sign) FILTER (WHERE created_at >= starts AND created_at < next_starts), 0) AS created,
        coalesce(sum(sign) FILTER (WHERE completed_at >= starts AND completed_at < next_starts), 0) AS completed
    FROM moves, week
),
quarters AS MATERIALIZED (
    SELECT coalesce(sum(created), 0) AS created, coalesce(sum(completed), 0) AS completed
    FROM task_quarters
    WHERE owner = %(owner)s::text
      AND quarter >= (SELECT starts FROM week)
      AND quarter < (SELECT next_starts FROM week)
)
SELECT
    (
        SELECT row_to_json(stats)::text
        FROM (
            SELECT
                quarters.created + figures.created AS tasks_created_this_week,
                quarters.completed + figures.completed AS tasks_completed_this_week,
                counted.complete + figures.complete AS total_completed,
                counted.tasks + figures.tasks - counted.complete - figures.complete AS total_incomplete,
                counted.tasks + figures.tasks AS total_tasks,
                week.week_start,
                week.week_end
        ) AS stats
    ) AS stats,
    (SELECT count(*) FROM entries) AS uncounted
FROM week, counted, figures, quarters;
