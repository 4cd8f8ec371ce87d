-- The totals: the history, folded. history_totals has what the entries up to a snapshot of Postgres amount to, and
-- history_periods what happened on each day and in each quarter of an hour. A total is that, and what the entries move
-- which the snapshot has not seen: effects(owner, upto). So it is exact, and costs a write nothing.


-- fold_totals(owner)
-- Count what is uncounted. Of several that want to at once, one does: the others do not get the lock, or find another
-- snapshot than they began with, and change nothing. The answer is the number of owners whose totals moved: 1 or 0.
WITH counted AS MATERIALIZED (
    SELECT coalesce(upto, '1:1:') AS upto
    FROM (
        SELECT %(owner)s::text AS owner
        -- The first number is only taskapi's own; transactions that end let the lock go.
        WHERE pg_try_advisory_xact_lock(722582, hashtext(%(owner)s::text))
    ) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
),
moved AS MATERIALIZED (
    SELECT move.*
    FROM counted, effects(%(owner)s::text, counted.upto) AS move
),
folded AS (
    INSERT INTO history_totals AS totals (
        owner, upto, created, updated, completed, incompleted, deleted, restored, complete
    )
    SELECT
        %(owner)s::text,
        pg_current_snapshot(),
        count(*) FILTER (WHERE action_type = 'CREATED'),
        count(*) FILTER (WHERE action_type = 'UPDATED'),
        count(*) FILTER (WHERE action_type = 'COMPLETED'),
        count(*) FILTER (WHERE action_type = 'INCOMPLETED'),
        count(*) FILTER (WHERE action_type = 'DELETED'),
        count(*) FILTER (WHERE action_type = 'RESTORED'),
        coalesce(sum(complete), 0)
    FROM moved
    HAVING EXISTS (SELECT FROM counted)
    ON CONFLICT (owner) DO UPDATE
    SET upto = excluded.upto,
        created = totals.created + excluded.created,
        updated = totals.updated + excluded.updated,
        completed = totals.completed + excluded.completed,
        incompleted = totals.incompleted + excluded.incompleted,
        deleted = totals.deleted + excluded.deleted,
        restored = totals.restored + excluded.restored,
        complete = totals.complete + excluded.complete
    WHERE totals.upto::text = (SELECT upto::text FROM counted)
    RETURNING owner
),
periods AS (
    INSERT INTO history_periods AS periods (owner, length, starts, entries, created, completed)
    SELECT
        folded.owner,
        lengths.length,
        date_bin(lengths.length, happened.moment, 'epoch'),
        sum(happened.entries),
        sum(happened.created),
        sum(happened.completed)
    FROM folded
    CROSS JOIN (VALUES (interval '1 day'), ('15 minutes')) AS lengths (length)
    CROSS JOIN (
        SELECT timestamp AS moment, 1 AS entries, 0 AS created, 0 AS completed
        FROM moved
        WHERE timestamp IS NOT NULL
        UNION ALL
        SELECT created_at, 0, tasks, 0
        FROM moved
        WHERE tasks <> 0
        UNION ALL
        SELECT completed_at, 0, 0, complete
        FROM moved
        WHERE complete <> 0
    ) AS happened
    GROUP BY 1, 2, 3
    ON CONFLICT (owner, length, starts) DO UPDATE
    SET entries = periods.entries + excluded.entries,
        created = periods.created + excluded.created,
        completed = periods.completed + excluded.completed
)
SELECT count(*) FROM folded;
