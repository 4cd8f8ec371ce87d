-- Figures about the tasks that exist: what sql/totals.sql keeps, and what it has not counted yet. So they are exact, in
-- the snapshot that the statement sees.


-- weekly_stats(owner, starts, ends)
-- How many of the tasks that exist were created and completed on the UTC days between two midnights, in seconds since
-- 1970; how many are complete, and how many there are at all. Each figure is a sum of what
--   - the totals know, up to a snapshot
--   - they know about each of the days
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
      AND length = '1 day'
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
