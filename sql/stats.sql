-- Figures about the tasks that exist.


-- weekly_stats(at)
-- The UTC week (Monday to Sunday) that holds the moment `at` (null: now), from one snapshot.
WITH week AS MATERIALIZED (
    SELECT
        monday AT TIME ZONE 'UTC' AS starts,
        (monday + interval '7 days') AT TIME ZONE 'UTC' AS next_starts,
        to_char(monday, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS week_start,
        to_char(monday + interval '7 days' - interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS week_end
    FROM date_trunc('week', coalesce(%(at)s::timestamptz, clock_timestamp()) AT TIME ZONE 'UTC') AS monday
),
totals AS MATERIALIZED (
    SELECT
        count(*) FILTER (WHERE is_completed) AS completed,
        count(*) FILTER (WHERE NOT is_completed) AS incomplete
    FROM tasks
)
SELECT json_build_object(
    'tasks_created_this_week', (
        SELECT count(*) FROM tasks WHERE created_at >= week.starts AND created_at < week.next_starts
    ),
    'tasks_completed_this_week', (
        SELECT count(*) FROM tasks WHERE completed_at >= week.starts AND completed_at < week.next_starts
    ),
    'total_completed', totals.completed,
    'total_incomplete', totals.incomplete,
    'total_tasks', totals.completed + totals.incomplete,
    'week_start', week.week_start,
    'week_end', week.week_end
)::text AS stats
FROM week, totals;
