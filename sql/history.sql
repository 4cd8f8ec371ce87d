-- The pages of the history, newest first, each with the exact number of entries in its selection.
--
-- Four statements find a page by its number, each in its own way; another one takes all filters and cursors. An entry's timestamp is later than that of every earlier
-- entry of its task, so that (timestamp, task_id) is a total order in which no task's entries change places.
--
-- Read those of all tasks from top to bottom:
--   counted     what the totals know, and up to which snapshot
--   uncounted   the entries that this snapshot has not seen; where they are many, the caller runs fold_totals()
--   total       both, which is what count(*) would say
--   keys        the entries of a far page, found in the index alone, from the nearer end
-- The answer is (total, items, uncounted); of one task, without the last. How an entry looks is said once: answer(task_history).


-- list_history(owner, limit, offset)
-- A page of all entries, near the newest one.
WITH counted AS MATERIALIZED (
    SELECT
        coalesce(upto, '1:1:') AS upto,
        coalesce(created + updated + completed + incompleted + deleted + restored, 0) AS entries
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
),
uncounted AS MATERIALIZED (
    SELECT count(*) AS entries
    FROM counted, unseen(%(owner)s::text, counted.upto)
)
SELECT
    counted.entries + uncounted.entries AS total,
    (
        SELECT coalesce(json_agg(answer(entry)), '[]')::text
        FROM (
            SELECT task_history AS entry
            FROM task_history
            WHERE owner COLLATE "POSIX" = %(owner)s::text
            ORDER BY timestamp DESC, task_id DESC
            LIMIT %(limit)s::bigint
            OFFSET %(offset)s::bigint
        ) AS page
    ) AS items,
    uncounted.entries AS uncounted
FROM counted, uncounted;


-- list_far_history(owner, limit, offset)
-- A page of all entries, anywhere. Whole days are skipped from either end: the page is found from the end that leaves
-- fewer entries of its own day to skip.
--   days     how many entries are newer than the day, and older
--   newer    the first entry of the page, from the end of its day on: where that is, and what is left to skip
--   older    the last entry of the page, from the start of its day on
WITH counted AS MATERIALIZED (
    SELECT
        coalesce(upto, '1:1:') AS upto,
        coalesce(created + updated + completed + incompleted + deleted + restored, 0) AS entries
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
),
uncounted AS MATERIALIZED (
    SELECT date_bin('1 day', timestamp, 'epoch') AS starts, count(*) AS entries
    FROM counted, unseen(%(owner)s::text, counted.upto)
    GROUP BY 1
),
days AS MATERIALIZED (
    SELECT
        starts,
        (sum(sum(entries)) OVER later - sum(entries))::bigint AS newer,
        (sum(sum(entries)) OVER earlier - sum(entries))::bigint AS older
    FROM (
        SELECT starts, entries
        FROM history_periods
        WHERE owner = %(owner)s::text
          AND length = '1 day'
          AND entries > 0
        UNION ALL
        SELECT starts, entries
        FROM uncounted
    ) AS known
    GROUP BY starts
    WINDOW later AS (ORDER BY starts DESC), earlier AS (ORDER BY starts)
),
total AS MATERIALIZED (
    SELECT counted.entries + new.entries AS entries, new.entries AS uncounted
    FROM counted, (SELECT coalesce(sum(entries), 0)::bigint AS entries FROM uncounted) AS new
),
newer AS MATERIALIZED (
    -- Not a day, which has 23 hours where the session's clock changes.
    SELECT starts + interval '24 hours' AS moment, %(offset)s::bigint - newer AS skipped
    FROM days
    WHERE newer <= %(offset)s::bigint
    ORDER BY starts
    LIMIT 1
),
older AS MATERIALIZED (
    SELECT starts AS moment, page.older - days.older AS skipped
    FROM days, (SELECT greatest(entries - %(offset)s::bigint - %(limit)s::bigint, 0) AS older FROM total) AS page
    WHERE days.older <= page.older
    ORDER BY starts DESC
    LIMIT 1
),
keys AS MATERIALIZED (
    (
        SELECT timestamp, task_id, version
        FROM task_history
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND timestamp < (SELECT moment FROM newer)
        ORDER BY timestamp DESC, task_id DESC
        LIMIT (SELECT CASE WHEN newer.skipped <= older.skipped THEN %(limit)s::bigint ELSE 0 END FROM newer, older)
        OFFSET (SELECT skipped FROM newer)
    )
    UNION ALL
    (
        SELECT timestamp, task_id, version
        FROM task_history
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND timestamp >= (SELECT moment FROM older)
        ORDER BY timestamp, task_id
        LIMIT (
            SELECT CASE
                WHEN newer.skipped <= older.skipped THEN 0
                ELSE greatest(least(%(limit)s::bigint, entries - %(offset)s::bigint), 0)
            END
            FROM total, newer, older
        )
        OFFSET (SELECT skipped FROM older)
    )
)
SELECT
    total.entries AS total,
    (
        SELECT coalesce(json_agg(answer(entry) ORDER BY keys.timestamp DESC, keys.task_id DESC), '[]')::text
        FROM keys
        CROSS JOIN LATERAL (
            SELECT task_history AS entry
            FROM task_history
            WHERE owner = %(owner)s::text
              AND task_id = keys.task_id
              AND version = keys.version
            OFFSET 0
        ) AS found
    ) AS items,
    total.uncounted
FROM total;


-- list_history_by_action(owner, action_type, limit, offset)
-- A page of the entries of one action.
WITH counted AS MATERIALIZED (
    SELECT
        coalesce(upto, '1:1:') AS upto,
        CASE %(action_type)s::text
            WHEN 'CREATED' THEN coalesce(created, 0)
            WHEN 'UPDATED' THEN coalesce(updated, 0)
            WHEN 'COMPLETED' THEN coalesce(completed, 0)
            WHEN 'INCOMPLETED' THEN coalesce(incompleted, 0)
            WHEN 'DELETED' THEN coalesce(deleted, 0)
            WHEN 'RESTORED' THEN coalesce(restored, 0)
        END AS entries
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN history_totals ON history_totals.owner = asked.owner
),
uncounted AS MATERIALIZED (
    SELECT
        count(*) AS entries,
        count(*) FILTER (WHERE action_type = %(action_type)s::text) AS of_action
    FROM counted, unseen(%(owner)s::text, counted.upto)
),
total AS MATERIALIZED (
    SELECT counted.entries + uncounted.of_action AS entries
    FROM counted, uncounted
),
keys AS MATERIALIZED (
    (
        SELECT timestamp, task_id, version
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type = %(action_type)s::text
        ORDER BY timestamp DESC, task_id DESC
        LIMIT (SELECT CASE WHEN %(offset)s::bigint <= entries / 2 THEN %(limit)s::bigint ELSE 0 END FROM total)
        OFFSET %(offset)s::bigint
    )
    UNION ALL
    (
        SELECT timestamp, task_id, version
        FROM task_history
        WHERE owner COLLATE "ucs_basic" = %(owner)s::text
          AND action_type = %(action_type)s::text
        ORDER BY timestamp, task_id
        LIMIT (
            SELECT CASE
                WHEN %(offset)s::bigint <= entries / 2 THEN 0
                ELSE greatest(least(%(limit)s::bigint, entries - %(offset)s::bigint), 0)
            END
            FROM total
        )
        OFFSET (SELECT greatest(entries - %(offset)s::bigint - %(limit)s::bigint, 0) FROM total)
    )
)
SELECT
    total.entries AS total,
    (
        SELECT coalesce(json_agg(answer(entry) ORDER BY keys.timestamp DESC, keys.task_id DESC), '[]')::text
        FROM keys
        CROSS JOIN LATERAL (
            SELECT task_history AS entry
            FROM task_history
            WHERE owner = %(owner)s::text
              AND task_id = keys.task_id
              AND version = keys.version
            OFFSET 0
        ) AS found
    ) AS items,
    uncounted.entries AS uncounted
FROM total, uncounted;


-- list_history_by_task(owner, task_id, action_type, limit, offset)
-- A page of one task's entries, of one action or (null) of all: by version, which is the order of their timestamps.
-- Versions have no gaps: that of the last entry is their number, and an offset is a version.
WITH total AS MATERIALIZED (
    SELECT
        CASE
            WHEN %(action_type)s::text IS NULL THEN (
                SELECT coalesce(max(version), 0)
                FROM task_history
                WHERE owner = %(owner)s::text
                  AND task_id = %(task_id)s::uuid
            )
            ELSE (
                SELECT count(*)
                FROM task_history
                WHERE owner = %(owner)s::text
                  AND task_id = %(task_id)s::uuid
                  AND action_type = %(action_type)s::text
            )
        END AS entries
)
SELECT
    total.entries AS total,
    (
        SELECT coalesce(json_agg(answer(entry)), '[]')::text
        FROM (
            SELECT task_history AS entry
            FROM task_history
            WHERE owner = %(owner)s::text
              AND task_id = %(task_id)s::uuid
              AND version <= CASE
                  WHEN %(action_type)s::text IS NULL THEN total.entries - %(offset)s::bigint
                  ELSE 2147483647
              END
              AND (%(action_type)s::text IS NULL OR action_type = %(action_type)s::text)
            ORDER BY version DESC
            LIMIT %(limit)s::bigint
            OFFSET CASE WHEN %(action_type)s::text IS NULL THEN 0 ELSE %(offset)s::bigint END
        ) AS page
    ) AS items
FROM total;


-- select_history(owner, task_id, action_type, actor, request_id, change_set, timestamp_from, timestamp_before,
--     after_timestamp, after_task_id, limit, offset)
-- A page of the entries that all of the filters select (null: any), after the entry with these sort keys (null: from
-- the newest one on). The answer is (total, items, uncounted, has_more).
--   asked   the key by which the entries are found, and the times between which they are
--   below   the sort keys that those of the page are below
--   keys    the page, and one entry more
-- The totals know the number of all entries, and of those of an action; others are counted.
WITH asked AS MATERIALIZED (
    SELECT
        selection_key(
            %(task_id)s::uuid, %(action_type)s::text, %(actor)s::text, %(request_id)s::text, %(change_set)s::text
        ) AS by,
        coalesce(%(timestamp_from)s::timestamptz, '-infinity') AS starts,
        coalesce(%(timestamp_before)s::timestamptz, 'infinity') AS ends,
        -- Not known when the plan is made: so it goes by the indexes that have the order, also to count.
        NULL::bigint AS no_limit
),
below AS MATERIALIZED (
    SELECT
        least(ends, %(after_timestamp)s::timestamptz) AS timestamp,
        CASE
            WHEN %(after_timestamp)s::timestamptz < ends THEN %(after_task_id)s::uuid
            ELSE '00000000-0000-0000-0000-000000000000'
        END AS task_id
    FROM asked
),
counted AS MATERIALIZED (
    SELECT
        coalesce(upto, '1:1:') AS upto,
        CASE
            WHEN %(action_type)s::text IS NULL
                THEN coalesce(created + updated + completed + incompleted + deleted + restored, 0)
            WHEN %(action_type)s::text = 'CREATED' THEN coalesce(created, 0)
            WHEN %(action_type)s::text = 'UPDATED' THEN coalesce(updated, 0)
            WHEN %(action_type)s::text = 'COMPLETED' THEN coalesce(completed, 0)
            WHEN %(action_type)s::text = 'INCOMPLETED' THEN coalesce(incompleted, 0)
            WHEN %(action_type)s::text = 'DELETED' THEN coalesce(deleted, 0)
            WHEN %(action_type)s::text = 'RESTORED' THEN coalesce(restored, 0)
        END AS entries
    FROM (
        SELECT %(owner)s::text AS owner
        FROM asked
        WHERE by IN ('action', 'none')
          AND starts = '-infinity'
          AND ends = 'infinity'
    ) AS known
    LEFT JOIN history_totals ON history_totals.owner = known.owner
),
uncounted AS MATERIALIZED (
    SELECT
        count(*) AS entries,
        count(*) FILTER (WHERE action_type = %(action_type)s::text OR %(action_type)s::text IS NULL) AS selected
    FROM counted, unseen(%(owner)s::text, counted.upto)
),
keys AS MATERIALIZED (
    SELECT entry.timestamp, entry.task_id, entry.version, row_number() OVER () AS place
    FROM asked, below, selected_entries(
        by, %(owner)s::text, %(task_id)s::uuid, %(action_type)s::text, %(actor)s::text, %(request_id)s::text,
        %(change_set)s::text, starts, below.timestamp, below.task_id, %(limit)s::bigint + 1, %(offset)s::bigint
    ) AS entry
)
SELECT
    coalesce(
        (SELECT counted.entries + uncounted.selected FROM counted, uncounted),
        (
            SELECT count(*)
            FROM asked, selected_entries(
                by, %(owner)s::text, %(task_id)s::uuid, %(action_type)s::text, %(actor)s::text, %(request_id)s::text,
                %(change_set)s::text, starts, ends, '00000000-0000-0000-0000-000000000000', no_limit, 0
            )
        )
    ) AS total,
    (
        SELECT coalesce(json_agg(answer(entry) ORDER BY keys.place), '[]')::text
        FROM keys
        CROSS JOIN LATERAL (
            SELECT task_history AS entry
            FROM task_history
            WHERE owner = %(owner)s::text
              AND task_id = keys.task_id
              AND version = keys.version
            OFFSET 0
        ) AS found
        WHERE keys.place <= %(limit)s::bigint
    ) AS items,
    (SELECT entries FROM uncounted) AS uncounted,
    EXISTS (SELECT FROM keys WHERE place > %(limit)s::bigint) AS has_more;
