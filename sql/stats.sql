-- Figures about the tasks that exist: what sql/totals.sql keeps, and what it has not counted yet. So they are exact, in
-- the snapshot that the statement sees.


-- weekly_stats(owner, length, starts, ends)
-- How many of the tasks that exist were created and completed between two moments, in seconds since 1970, at which
-- periods of this length begin; how many are complete, and how many there are at all. Each figure is a sum of what
--   - the totals know, up to a snapshot
--   - they know about each of the periods
--   - the entries have changed which that snapshot has not seen
-- The answer is (created, completed, complete, tasks, uncounted): where uncounted entries are many, the caller runs
-- fold_totals().
WITH counted AS MATERIALIZED (
    SELECT coalesce(upto, '1:1:') AS upto, created + restored - deleted AS tasks, complete
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
)
SELECT
    sum(created) AS created,
    sum(completed) AS completed,
    coalesce(sum(complete), 0)::bigint AS complete,
    coalesce(sum(tasks), 0)::bigint AS tasks,
    sum(entries) AS uncounted
FROM (
    SELECT 0 AS created, 0 AS completed, complete, tasks, 0 AS entries
    FROM counted
    UNION ALL
    SELECT created, completed, 0, 0, 0
    FROM history_periods
    WHERE owner = %(owner)s::text
      AND length = %(length)s::interval
      AND starts >= to_timestamp(%(starts)s::double precision)
      AND starts < to_timestamp(%(ends)s::double precision)
    UNION ALL
    SELECT
        CASE
            WHEN created_at < to_timestamp(%(starts)s::double precision) THEN 0
            WHEN created_at < to_timestamp(%(ends)s::double precision) THEN move.tasks
            ELSE 0
        END,
        CASE
            WHEN completed_at < to_timestamp(%(starts)s::double precision) THEN 0
            WHEN completed_at < to_timestamp(%(ends)s::double precision) THEN move.complete
            ELSE 0
        END,
        move.complete,
        move.tasks,
        (move.timestamp IS NOT NULL)::integer
    FROM counted
    CROSS JOIN LATERAL (
        SELECT *
        FROM effects(%(owner)s::text, counted.upto)
        OFFSET 0
    ) AS move
) AS figures;


-- weekly_stats_as_of(owner, as_of, starts, ends)
-- The same as it was at a moment (null: now), between any two others. Postgres counts entries in an index, by what their
-- actions say that they do: only those of deletions, restorations and reopenings are looked at.
--
--   counted       what the totals know, up to a snapshot
--   now           how many tasks there are now, and how many of them are complete
--   since         what the entries after the moment have added to that
--   created       the tasks that were created in the week, but for those that were deleted
--   completed     the tasks that were completed in the week, and whether anything else may have happened to that:
--                 if so, the task of then says when it was completed
-- The answer is (outcome, created, completed, complete, total, uncounted). The outcome is that of sql/as_of.sql.
WITH asked AS MATERIALIZED (
    SELECT
        coalesce(%(as_of)s::timestamptz, 'infinity') AS moment,
        to_timestamp(%(starts)s::double precision) AS starts,
        to_timestamp(%(ends)s::double precision) AS ends
    WHERE coalesce(has_come(%(as_of)s::timestamptz), true)
),
counted AS MATERIALIZED (
    SELECT coalesce(upto, '1:1:') AS upto, created + restored - deleted AS total, complete
    FROM (SELECT %(owner)s::text AS owner FROM asked) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
),
now AS MATERIALIZED (
    SELECT
        coalesce(sum(complete), 0)::bigint AS complete,
        coalesce(sum(total), 0)::bigint AS total,
        sum(entries) AS uncounted
    FROM (
        SELECT complete, total, 0 AS entries
        FROM counted
        UNION ALL
        SELECT move.complete, move.tasks, (move.timestamp IS NOT NULL)::integer
        FROM counted
        CROSS JOIN LATERAL (
            SELECT *
            FROM effects(%(owner)s::text, counted.upto)
            OFFSET 0
        ) AS move
    ) AS parts
),
since AS MATERIALIZED (
    SELECT coalesce(sum(complete), 0) AS complete, coalesce(sum(total), 0) AS total
    FROM (
        SELECT
            CASE action_type WHEN 'COMPLETED' THEN 1 WHEN 'INCOMPLETED' THEN -1 ELSE 0 END AS complete,
            CASE action_type WHEN 'CREATED' THEN 1 ELSE 0 END AS total
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type IN ('CREATED', 'COMPLETED', 'INCOMPLETED')
          AND timestamp > (SELECT moment FROM asked)
        UNION ALL
        SELECT
            CASE WHEN snapshot ->> 'completed_at' IS NULL THEN 0 WHEN action_type = 'RESTORED' THEN 1 ELSE -1 END,
            CASE WHEN action_type = 'RESTORED' THEN 1 ELSE -1 END
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type IN ('DELETED', 'RESTORED')
          AND timestamp > (SELECT moment FROM asked)
    ) AS entry
),
created AS MATERIALIZED (
    SELECT coalesce(sum(total), 0)::bigint AS total
    FROM (
        SELECT count(*) AS total
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type = 'CREATED'
          AND timestamp >= (SELECT starts FROM asked)
          AND timestamp < (SELECT ends FROM asked)
          AND timestamp <= (SELECT moment FROM asked)
        UNION ALL
        SELECT sum(CASE WHEN action_type = 'RESTORED' THEN 1 ELSE -1 END)
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type IN ('DELETED', 'RESTORED')
          AND timestamp >= (SELECT starts FROM asked)
          AND timestamp <= (SELECT moment FROM asked)
          AND (snapshot ->> 'created_at')::timestamptz >= (SELECT starts FROM asked)
          AND (snapshot ->> 'created_at')::timestamptz < (SELECT ends FROM asked)
    ) AS entries
),
completed AS MATERIALIZED (
    SELECT task_id, bool_or(action_type <> 'COMPLETED') AS is_doubtful
    FROM (
        SELECT task_id, action_type
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type = 'COMPLETED'
          AND timestamp >= (SELECT starts FROM asked)
          AND timestamp < (SELECT ends FROM asked)
          AND timestamp <= (SELECT moment FROM asked)
        UNION ALL
        SELECT task_id, action_type
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type IN ('INCOMPLETED', 'DELETED', 'RESTORED')
          AND timestamp <= (SELECT moment FROM asked)
    ) AS entry
    GROUP BY task_id
    HAVING bool_or(action_type = 'COMPLETED')
)
SELECT
    CASE WHEN EXISTS (SELECT FROM asked) THEN 'known' ELSE 'to_come' END AS outcome,
    created.total AS created,
    (
        SELECT count(*)
        FROM completed
        WHERE NOT is_doubtful
           OR EXISTS (
               SELECT
               FROM asked, entry_as_of(%(owner)s::text, completed.task_id, asked.moment) AS entry
               WHERE entry.action_type <> 'DELETED'
                 AND (entry.snapshot ->> 'completed_at')::timestamptz >= asked.starts
                 AND (entry.snapshot ->> 'completed_at')::timestamptz < asked.ends
           )
    ) AS completed,
    now.complete - since.complete AS complete,
    now.total - since.total AS total,
    now.uncounted
FROM now, since, created;


-- daily_stats(owner, length, starts, ends, bounds)
-- How many of the tasks that exist were created and completed on each day. The days begin and end at the bounds, moments
-- in seconds since 1970 at which periods of this length begin: the first is `starts`, and the last `ends`. Two that are
-- the same are a day that the calendar left out.
-- The answer is (created, completed, uncounted), the first two as arrays.
WITH counted AS MATERIALIZED (
    SELECT coalesce(upto, '1:1:') AS upto
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
),
asked AS MATERIALIZED (
    SELECT %(bounds)s::double precision[] AS bounds
),
uncounted AS MATERIALIZED (
    SELECT move.*
    FROM counted
    CROSS JOIN LATERAL (
        SELECT *
        FROM effects(%(owner)s::text, counted.upto)
        OFFSET 0
    ) AS move
),
days AS MATERIALIZED (
    SELECT day, sum(created) AS created, sum(completed) AS completed
    FROM (
        SELECT generate_subscripts(bounds, 1) AS day, 0 AS created, 0 AS completed
        FROM asked
        UNION ALL
        SELECT width_bucket(extract(epoch FROM starts)::double precision, bounds), created, completed
        FROM asked, history_periods
        WHERE owner = %(owner)s::text
          AND length = %(length)s::interval
          AND starts >= to_timestamp(%(starts)s::double precision)
          AND starts < to_timestamp(%(ends)s::double precision)
        UNION ALL
        SELECT width_bucket(extract(epoch FROM created_at)::double precision, bounds), tasks, 0
        FROM asked, uncounted
        UNION ALL
        SELECT width_bucket(extract(epoch FROM completed_at)::double precision, bounds), 0, complete
        FROM asked, uncounted
        WHERE complete <> 0
    ) AS parts
    GROUP BY day
)
SELECT
    array_agg(created ORDER BY day) AS created,
    array_agg(completed ORDER BY day) AS completed,
    (SELECT count(timestamp) FROM uncounted) AS uncounted
FROM asked, days
WHERE day BETWEEN 1 AND array_length(bounds, 1) - 1;


-- daily_stats_by_tasks(owner, starts, ends, bounds)
-- The same for days that begin at any moments, such as those of a zone whose clocks once went by the sun: from the tasks
-- themselves. One that was completed before the last of the days ends was created before that, too.
WITH asked AS MATERIALIZED (
    SELECT %(bounds)s::double precision[] AS bounds
),
days AS MATERIALIZED (
    SELECT day, sum(created) AS created, sum(completed) AS completed
    FROM (
        SELECT generate_subscripts(bounds, 1) AS day, 0 AS created, 0 AS completed
        FROM asked
        UNION ALL
        SELECT width_bucket(extract(epoch FROM created_at)::double precision, bounds), 1, 0
        FROM asked, tasks
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND is_completed IN (false, true)
          AND created_at >= to_timestamp(%(starts)s::double precision)
          AND created_at < to_timestamp(%(ends)s::double precision)
        UNION ALL
        SELECT width_bucket(extract(epoch FROM completed_at)::double precision, bounds), 0, 1
        FROM asked, tasks
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND is_completed
          AND created_at < to_timestamp(%(ends)s::double precision)
    ) AS parts
    GROUP BY day
)
SELECT array_agg(created ORDER BY day) AS created, array_agg(completed ORDER BY day) AS completed
FROM asked, days
WHERE day BETWEEN 1 AND array_length(bounds, 1) - 1;
