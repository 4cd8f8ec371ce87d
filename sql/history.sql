-- The pages of the history, newest first, each with the exact number of entries in its selection.
--
-- Three statements, because each has an index of its own. An entry's timestamp is later than that of every earlier
-- entry of its task, so that (timestamp, task_id) is a total order in which no task's entries change places.
--
-- Read the first two from top to bottom:
--   counted     what the totals know, and up to which snapshot
--   uncounted   the entries that this snapshot has not seen; where they are many, the caller runs fold_totals()
--   total       both, which is what count(*) would say
--   keys        the entries of the page, found in the index alone, from the nearer end of it
-- The answer is (total, items, uncounted).


-- list_history(owner, limit, offset)
-- A page of all entries.
WITH counted AS MATERIALIZED (
    SELECT
        coalesce(upto, '1:1:') AS upto,
        coalesce(created + updated + completed + incompleted + deleted + restored, 0) AS entries
    FROM (SELECT %(owner)s::text AS owner) AS asked
    LEFT JOIN task_totals ON task_totals.owner = asked.owner
),
uncounted AS MATERIALIZED (
    SELECT count(*) AS entries
    FROM counted, unseen(%(owner)s::text, counted.upto)
),
total AS MATERIALIZED (
    SELECT counted.entries + uncounted.entries AS entries
    FROM counted, uncounted
),
keys AS MATERIALIZED (
    (
        SELECT timestamp, task_id, version
        FROM task_history
        WHERE owner COLLATE "POSIX" = %(owner)s::text
        ORDER BY timestamp DESC, task_id DESC
        LIMIT (SELECT CASE WHEN %(offset)s::bigint <= entries / 2 THEN %(limit)s::bigint ELSE 0 END FROM total)
        OFFSET %(offset)s::bigint
    )
    UNION ALL
    (
        SELECT timestamp, task_id, version
        FROM task_history
        WHERE owner COLLATE "POSIX" = %(owner)s::text
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
        SELECT coalesce(json_agg(entry), '[]')::text
        FROM (
            SELECT
                found.history_id,
                found.task_id,
                found.action_type,
                found.description,
                to_char(found.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
            FROM keys
            CROSS JOIN LATERAL (
                SELECT *
                FROM task_history
                WHERE owner = %(owner)s::text
                  AND task_id = keys.task_id
                  AND version = keys.version
                OFFSET 0
            ) AS found
            ORDER BY keys.timestamp DESC, keys.task_id DESC
        ) AS entry
    ) AS items,
    uncounted.entries AS uncounted
FROM total, uncounted;


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
    LEFT JOIN task_totals ON task_totals.owner = asked.owner
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
        SELECT coalesce(json_agg(entry), '[]')::text
        FROM (
            SELECT
                found.history_id,
                found.task_id,
                found.action_type,
                found.description,
                to_char(found.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
            FROM keys
            CROSS JOIN LATERAL (
                SELECT *
                FROM task_history
                WHERE owner = %(owner)s::text
                  AND task_id = keys.task_id
                  AND version = keys.version
                OFFSET 0
            ) AS found
            ORDER BY keys.timestamp DESC, keys.task_id DESC
        ) AS entry
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
        SELECT coalesce(json_agg(entry), '[]')::text
        FROM (
            SELECT
                history_id,
                task_id,
                action_type,
                description,
                to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp
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
        ) AS entry
    ) AS items
FROM total;
