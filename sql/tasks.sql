-- Every statement on one task, and the lists. A write locks the row, changes it and inserts its history entry, in
-- one statement.
--
-- Read a write from top to bottom:
--   earlier   what this Idempotency-Key has written before; without a key, nothing
--   seen      the row as it was when the statement began: it tells what happened while this one waited for the lock.
--             Another request with the same key may have written, and its entry cannot be seen from here
--   locked    the row, locked, as the last writer left it
--   wanted    the row as the request wants it, and the time, read only now that the lock is held;
--             at least one microsecond later than the last change, should the clock have gone back
--   changed   the row before and after the change, when there is one
--   logged    the history entry
-- The answer is (outcome, task, version): written, unchanged, mismatch (the task is at none of the `expected` versions;
-- instead of the task, what changed since), replayed (the key's first answer again), key_reused (the key belongs to
-- another request), raced (run the statement again: the entries of meanwhile are there now); no row: no such task.
--
-- Each entry keeps who made the change (actor), in which request and as part of which change set; each may be null.
--
-- How a task looks is said once: answer(tasks) has its fields in the contract's order, and times as text. A snapshot is
-- jsonb, which orders keys its own way: answer(jsonb) puts them back. What a change says to people is said once, too:
-- difference(before, after).
--
-- Each key and each index begins with the owner. `owner` alone finds the keys; the indexes of lists are found by
-- `owner COLLATE "POSIX"`, which means the same. So no plan can take a list's index for a key's, whatever Postgres
-- knows or does not know about the table when it makes the plan (docs/decisions/0013).


-- create_task(owner, task, actor, request_id, change_set, idempotency_key, request_digest)
-- A JSON object of title and description: one task and its CREATED entry.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
wanted AS MATERIALIZED (
    SELECT %(task)s::jsonb AS task, clock_timestamp() AS now
    WHERE NOT EXISTS (SELECT FROM earlier)
),
changed AS (
    INSERT INTO tasks (owner, title, description, created_at, updated_at)
    SELECT %(owner)s::text, task ->> 'title', task ->> 'description', now, now
    FROM wanted
    RETURNING tasks AS after
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (after).id,
        'CREATED',
        'title: ''' || (after).title || '''',
        (after).updated_at,
        (after).version,
        to_jsonb(answer(after)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(after))::text AS task, (after).version
FROM changed
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text,
    version
FROM earlier;


-- list_tasks(owner, known)
-- Every task as one JSON array: incomplete first, then the newest first. The position says what the list shows. Where
-- nothing has changed since one of the positions `known`, that one is the answer, without a list.
--
--   now         the position of this statement: what position_now() says, with the history named before the tasks
--               (WHERE false reads nothing), because migrations lock the tables in that order; on a standby, none
--   unchanged   the known position that is still good
WITH now AS MATERIALIZED (
    SELECT concat(pg_current_snapshot(), '/', newest) AS position
    FROM (SELECT WHERE NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM task_history WHERE false)) AS here
    LEFT JOIN newest_entry(%(owner)s::text, pg_current_snapshot()) AS newest ON true
),
unchanged AS MATERIALIZED (
    SELECT max(position) AS position
    FROM unchanged_since(%(owner)s::text, %(known)s::text[]) AS position
)
SELECT
    CASE WHEN position IS NULL THEN (
        SELECT coalesce(json_agg(answer(task)), '[]')::text
        FROM (
            SELECT tasks AS task
            FROM tasks
            WHERE owner COLLATE "POSIX" = %(owner)s::text
            ORDER BY is_completed, created_at DESC, id
        ) AS listed
    ) END AS tasks,
    coalesce(position, (SELECT position FROM now)) AS position
FROM unchanged;


-- list_tasks_page(owner, known, is_completed, pattern, created_from, created_before, updated_from, updated_before,
--     completed_from, completed_before, begins_completed, after_is_completed, after_created_at, after_id, limit, counts)
-- Tasks in the order of list_tasks: of one state or (null) of both; those that the filters select (null: any; of the
-- creation, -infinity and infinity); after the task with these sort keys (null, and infinity: from the start), in the
-- state in which the page begins. `known` and the position are those of list_tasks.
-- The answer is (tasks, position, last, total): `last` is the page's last task where there are more (null: none), and
-- `total` is how many there are on all pages, where `counts` asks for it.
--
--   first    those of the state that the page begins in, and one more than the page has room for
--   second   as many completed ones as there is room left for, where it began among the open ones
WITH now AS MATERIALIZED (
    SELECT concat(pg_current_snapshot(), '/', newest) AS position
    FROM (SELECT WHERE NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM task_history WHERE false)) AS here
    LEFT JOIN newest_entry(%(owner)s::text, pg_current_snapshot()) AS newest ON true
),
unchanged AS MATERIALIZED (
    SELECT max(position) AS position
    FROM unchanged_since(%(owner)s::text, %(known)s::text[]) AS position
),
first AS MATERIALIZED (
    SELECT tasks AS task
    FROM tasks
    WHERE (SELECT position IS NULL FROM unchanged)
      AND owner COLLATE "POSIX" = %(owner)s::text
      AND coalesce(%(after_is_completed)s::boolean = %(is_completed)s::boolean, true)
      AND is_completed = %(begins_completed)s::boolean
      AND created_at >= %(created_from)s::timestamptz
      AND created_at < %(created_before)s::timestamptz
      AND created_at <= %(after_created_at)s::timestamptz
      AND (%(after_id)s::uuid IS NULL OR created_at < %(after_created_at)s::timestamptz OR id > %(after_id)s::uuid)
      AND is_selected(
          tasks, %(pattern)s::text, %(updated_from)s::timestamptz, %(updated_before)s::timestamptz,
          %(completed_from)s::timestamptz, %(completed_before)s::timestamptz
      )
    ORDER BY is_completed, created_at DESC, id
    LIMIT %(limit)s::bigint + 1
),
second AS MATERIALIZED (
    SELECT tasks AS task
    FROM tasks
    WHERE (SELECT position IS NULL FROM unchanged)
      AND owner COLLATE "POSIX" = %(owner)s::text
      AND NOT %(begins_completed)s::boolean
      AND coalesce(%(is_completed)s::boolean, true)
      AND is_completed
      AND created_at >= %(created_from)s::timestamptz
      AND created_at < %(created_before)s::timestamptz
      AND is_selected(
          tasks, %(pattern)s::text, %(updated_from)s::timestamptz, %(updated_before)s::timestamptz,
          %(completed_from)s::timestamptz, %(completed_before)s::timestamptz
      )
    ORDER BY is_completed, created_at DESC, id
    LIMIT %(limit)s::bigint + 1 - (SELECT count(*) FROM first)
),
page AS MATERIALIZED (
    SELECT task, row_number() OVER (ORDER BY (task).is_completed, (task).created_at DESC, (task).id) AS place
    FROM (TABLE first UNION ALL TABLE second) AS found
)
SELECT
    CASE WHEN position IS NULL THEN (
        SELECT coalesce(json_agg(answer(task)), '[]')::text
        FROM (
            SELECT task
            FROM page
            WHERE place <= %(limit)s::bigint OR %(limit)s::bigint IS NULL
            ORDER BY place
        ) AS listed
    ) END AS tasks,
    coalesce(position, (SELECT position FROM now)) AS position,
    (
        SELECT row_to_json(answer(task))::text
        FROM page
        WHERE place = %(limit)s::bigint
          AND EXISTS (SELECT FROM page WHERE place > %(limit)s::bigint)
    ) AS last,
    CASE WHEN position IS NULL AND %(counts)s::boolean THEN (
        SELECT count(*)
        FROM tasks
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND is_completed IN (%(is_completed)s::boolean IS TRUE, %(is_completed)s::boolean IS NOT FALSE)
          AND created_at >= %(created_from)s::timestamptz
          AND created_at < %(created_before)s::timestamptz
          AND is_selected(
              tasks, %(pattern)s::text, %(updated_from)s::timestamptz, %(updated_before)s::timestamptz,
              %(completed_from)s::timestamptz, %(completed_before)s::timestamptz
          )
    ) END AS total
FROM unchanged;


-- get_task(owner, task_id)
-- One task, and its version; no row when there is none.
SELECT row_to_json(answer(tasks))::text AS task, version
FROM tasks
WHERE owner = %(owner)s::text
  AND id = %(task_id)s::uuid;


-- change_task(owner, task_id, changes, expected, actor, request_id, change_set, idempotency_key, request_digest)
-- `changes` is a JSON object of title, description and is_completed; what it does not have stays as it is. The entry is
-- COMPLETED or INCOMPLETED where the state changes, else UPDATED. `expected` are the versions of which the task must
-- have one (null: any).
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND (%(idempotency_key)s::text IS NOT NULL OR %(expected)s::integer[] IS NOT NULL)
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT tasks AS before
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
wanted AS MATERIALIZED (
    SELECT
        before,
        jsonb_populate_record(before, %(changes)s::jsonb) AS task,
        greatest(clock_timestamp(), (before).updated_at + interval '1 microsecond') AS now
    FROM locked
    WHERE coalesce((before).version = ANY (%(expected)s::integer[]), true)
),
changed AS (
    UPDATE tasks
    SET title = (task).title,
        description = (task).description,
        is_completed = (task).is_completed,
        completed_at = CASE
            WHEN (task).is_completed = (before).is_completed THEN (before).completed_at
            WHEN (task).is_completed THEN now
        END,
        updated_at = now,
        version = (before).version + 1
    FROM wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = %(task_id)s::uuid
      AND task IS DISTINCT FROM before
    RETURNING before, tasks AS after
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (after).id,
        CASE
            WHEN (after).is_completed = (before).is_completed THEN 'UPDATED'
            WHEN (after).is_completed THEN 'COMPLETED'
            ELSE 'INCOMPLETED'
        END,
        difference(before, after),
        (after).updated_at,
        (after).version,
        to_jsonb(answer(after)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(after))::text AS task, (after).version
FROM changed
UNION ALL
SELECT
    CASE
        WHEN EXISTS (SELECT FROM seen WHERE version <> (before).version) THEN 'raced'
        WHEN EXISTS (SELECT FROM wanted) THEN 'unchanged'
        ELSE 'mismatch'
    END,
    CASE
        WHEN EXISTS (SELECT FROM wanted) THEN row_to_json(answer(before))::text
        ELSE changes_since(before, %(expected)s::integer[])
    END,
    (before).version
FROM locked
WHERE NOT EXISTS (SELECT FROM changed)
UNION ALL
SELECT 'raced', NULL, NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text,
    version
FROM earlier;


-- delete_task(owner, task_id, expected, actor, request_id, change_set, idempotency_key, request_digest)
-- The row goes; its DELETED entry keeps the task as it was. `expected`: as for change_task.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
seen AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND (%(idempotency_key)s::text IS NOT NULL OR %(expected)s::integer[] IS NOT NULL)
      AND NOT EXISTS (SELECT FROM earlier)
),
locked AS MATERIALIZED (
    SELECT tasks AS before
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
changed AS (
    DELETE FROM tasks
    USING locked
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = %(task_id)s::uuid
      AND coalesce((before).version = ANY (%(expected)s::integer[]), true)
    RETURNING before
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (before).id,
        'DELETED',
        'title: ''' || (before).title || '''',
        greatest(clock_timestamp(), (before).updated_at + interval '1 microsecond'),
        (before).version + 1,
        to_jsonb(answer(before)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM changed
)
SELECT 'written' AS outcome, row_to_json(answer(before))::text AS task, (before).version + 1 AS version
FROM changed
UNION ALL
SELECT
    CASE WHEN EXISTS (SELECT FROM seen WHERE version <> (before).version) THEN 'raced' ELSE 'mismatch' END,
    changes_since(before, %(expected)s::integer[]),
    (before).version
FROM locked
WHERE NOT EXISTS (SELECT FROM changed)
UNION ALL
SELECT 'raced', NULL, NULL
FROM seen
WHERE NOT EXISTS (SELECT FROM locked)
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text,
    version
FROM earlier;
