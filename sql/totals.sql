-- The totals: the history, folded. task_totals has what the entries up to a snapshot of Postgres amount to, and
-- task_quarters how many of the tasks were created and completed in each quarter of an hour. A total is that and the
-- entries which the snapshot has not seen, unseen(owner, upto). So it is exact, and costs a write nothing.


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
folded AS (
    INSERT INTO task_totals AS totals (
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
        (SELECT coalesce(sum(sign), 0) FROM moves WHERE is_completed)
    FROM entries
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
quarters AS (
    INSERT INTO task_quarters AS quarters (owner, quarter, created, completed)
    SELECT
        folded.owner,
        moved.quarter,
        coalesce(sum(moved.sign) FILTER (WHERE moved.is_created), 0),
        coalesce(sum(moved.sign) FILTER (WHERE NOT moved.is_created), 0)
    FROM folded
    CROSS JOIN (
        SELECT sign, true AS is_created, date_bin('15 minutes', created_at, 'epoch') AS quarter
        FROM moves
        UNION ALL
        SELECT sign, false, date_bin('15 minutes', completed_at, 'epoch')
        FROM moves
        WHERE completed_at IS NOT NULL
    ) AS moved
    GROUP BY folded.owner, moved.quarter
    ON CONFLICT (owner, quarter) DO UPDATE
    SET created = quarters.created + excluded.created,
        completed = quarters.completed + excluded.completed
)
SELECT count(*) FROM folded;
