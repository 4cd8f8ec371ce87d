-- The changes: every entry of the history once, as soon as it is committed, those of one task in their order.
--
-- A position is what somebody has seen: a snapshot of Postgres. Transactions commit in another order than they take
-- numbers or read clocks, so that what is greater than the last number seen is not all that is new. What is new is what
-- that snapshot does not see, and this one does: a batch, from the snapshot `seen` to the snapshot `upto`.
--
-- In a batch, entries go by (timestamp, task_id), a total order (see history.sql) that no task's entries break. Neither
-- do batches: a task's next entry is written when the one before is committed, so that who sees it sees both.


-- list_changes(owner, seen, upto, newest, after_timestamp, after_id, limit)
-- A page of what the snapshot `seen` does not see: up to the running statement's snapshot. Inside of a batch: up to the
-- snapshot `upto`, and after the entry (after_timestamp, after_id). `newest` is the newest entry that `upto`, or else
-- `seen`, sees: if it is another one, this is not the database of which the position tells.
--
--   batch    its ends, and how many entries to look for: one more than `limit` tells that there is more
--   few      whether these are all the entries that `seen` does not see: they are taken and sorted
--   starts   where to begin otherwise: at the oldest of them, from where the history is read in order
--   found    the page, and one entry more
-- The answer goes on where the batch does; there is more also where something has come after the batch.
WITH batch AS MATERIALIZED (
    SELECT
        coalesce(%(upto)s::pg_snapshot, pg_current_snapshot()) AS upto,
        CASE
            WHEN pg_is_in_recovery() THEN 'standby'
            WHEN goes_on_from(
                %(owner)s::text, coalesce(%(upto)s::pg_snapshot, %(seen)s::pg_snapshot), %(newest)s::uuid
            ) THEN 'found'
            ELSE 'gone'
        END AS outcome
),
few AS MATERIALIZED (
    SELECT count(*) <= 1000 AS are_few
    FROM (
        SELECT FROM unseen(%(owner)s::text, %(seen)s::pg_snapshot)
        LIMIT 1001
    ) AS entries
),
starts AS MATERIALIZED (
    SELECT
        coalesce(
            %(after_timestamp)s::timestamptz,
            CASE WHEN NOT are_few THEN (SELECT min(timestamp) FROM unseen(%(owner)s::text, %(seen)s::pg_snapshot)) END,
            '-infinity'
        ) AS timestamp,
        coalesce(%(after_id)s::uuid, '00000000-0000-0000-0000-000000000000') AS task_id
    FROM few
),
found AS MATERIALIZED (
    (
        SELECT entry
        FROM unseen(%(owner)s::text, %(seen)s::pg_snapshot) AS entry
        WHERE pg_visible_in_snapshot(transaction_id, (SELECT upto FROM batch))
          AND (timestamp, task_id) > ((SELECT timestamp FROM starts), (SELECT task_id FROM starts))
        ORDER BY timestamp, task_id
        LIMIT (
            SELECT CASE WHEN are_few AND outcome = 'found' THEN %(limit)s::bigint + 1 ELSE 0 END
            FROM few, batch
        )
    )
    UNION ALL
    (
        SELECT task_history
        FROM task_history
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND (timestamp, task_id) > ((SELECT timestamp FROM starts), (SELECT task_id FROM starts))
          AND NOT pg_visible_in_snapshot(transaction_id, %(seen)s::pg_snapshot)
          AND pg_visible_in_snapshot(transaction_id, (SELECT upto FROM batch))
        ORDER BY timestamp, task_id
        LIMIT (
            SELECT CASE WHEN NOT are_few AND outcome = 'found' THEN %(limit)s::bigint + 1 ELSE 0 END
            FROM few, batch
        )
    )
),
page AS MATERIALIZED (
    SELECT entry
    FROM found
    ORDER BY (entry).timestamp, (entry).task_id
    LIMIT %(limit)s::bigint
)
SELECT
    outcome,
    items,
    transactions,
    goes_on,
    goes_on OR EXISTS (SELECT FROM unseen(%(owner)s::text, upto)) AS has_more,
    concat(upto, '/', (SELECT * FROM newest_entry(%(owner)s::text, upto))) AS position,
    last_timestamp,
    last_id
FROM batch
CROSS JOIN (SELECT count(*) > %(limit)s::bigint AS goes_on FROM found) AS counted
CROSS JOIN (
    SELECT
        -- One a line: JSON text has no line breaks of its own.
        coalesce(string_agg(row_to_json(change(entry))::text, E'\n' ORDER BY (entry).timestamp, (entry).task_id), '')
            AS items,
        coalesce(
            string_agg((entry).transaction_id::text, ' ' ORDER BY (entry).timestamp, (entry).task_id), ''
        ) AS transactions
    FROM page
) AS listed
LEFT JOIN (
    SELECT (change(entry)).timestamp AS last_timestamp, (entry).task_id::text AS last_id
    FROM page
    ORDER BY (entry).timestamp DESC, (entry).task_id DESC
    LIMIT 1
) AS last ON true;


-- owners_with_news(owners, snapshots)
-- Which of these owners have entries that a snapshot of theirs, at the same place, does not see: a JSON array. It runs
-- for no owner, and tells nothing but the names.
SELECT coalesce(json_agg(owner), '[]')::text AS owners
FROM owners_with_news(%(owners)s::text[], %(snapshots)s::text[]::pg_snapshot[]) AS owner;
