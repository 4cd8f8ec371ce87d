-- Undo and restore: what the history has is taken back as new changes, each with its entry. Nothing is removed from it.
--
-- Read undo_changes from top to bottom:
--   earlier   what this Idempotency-Key has written before; without a key, nothing
--   chosen    the entries to take back
--   counted   how many tasks that are
--   asked     these tasks, unless they are too many, and the first chosen version of each
--   locked    the tasks that exist, locked in the order of the ids, so that two such writes never wait for each other
--   chain     the entries of these tasks from the first chosen one on, each with the task before it
--   checked   the time, read when the last lock is held; and whether a task has changed since this statement began. Its
--             newest entry cannot be seen from here (outcome raced)
--   edits     the changes of single fields. That a task is there is a field, too: `task`. `is_completed` is told by the
--             time of completion, which goes back with it
--   runs      of each field, the last run of chosen edits without another one in between: `wanted` is the value before
--             it. The verdict is done (it has that value), open (it gets it), changed (by others, since) or refused (by
--             the rules of today)
--   fates     the runs of each task in one row
--   others    the newest entry of each task that was not chosen
--   plans     each task as it is, whether it stays, and the fields that go back. It is blocked if others have deleted
--             it, or have worked on what would be deleted. A task whose texts are erased does not return
--   conflicts what stays as it is because of others, or of the rules
--   planned   the tasks that change, before and after
-- Then come the writes, unless it is a dry run.
--
-- A deleted task has no row to lock: who restores it, too, meets this one at the primary key, and runs again.


-- undo_changes(owner, task_id, version, of_request, of_change_set, of_actor, since, until, most, skip_conflicts,
--     dry_run, expected, actor, request_id, change_set, idempotency_key, request_digest)
-- Takes back one version of a task, what a request or a change set has written, or what an actor (null: nobody known)
-- has written from `since` on and before `until`, or infinity. Of more than `most` tasks, nothing. `expected`: as for
-- change_task.
-- The answer is (outcome, changes, conflicts, task, version, said). The last three are of the only task, if there is
-- one.
-- Outcomes: written, unchanged (also a dry run's), conflict, mismatch, too_many (`said` tells each of the three),
-- no_version (the task has none such), nothing (is chosen), replayed, key_reused, raced.
WITH earlier AS MATERIALIZED (
    SELECT request_digest, request_entry, task_history AS entry
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
),
chosen AS (
    SELECT task_id AS id, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND task_id = %(task_id)s::uuid
      AND version = %(version)s::integer
    UNION ALL
    SELECT task_id, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND request_id = %(of_request)s::text
    UNION ALL
    SELECT task_id, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND change_set = %(of_change_set)s::text
    UNION ALL
    SELECT task_id, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND actor = %(of_actor)s::text
      AND timestamp >= %(since)s::timestamptz
      AND timestamp < %(until)s::timestamptz
    UNION ALL
    -- One index has this order, and is taken for it.
    (
        SELECT task_id, version
        FROM task_history
        WHERE owner COLLATE "POSIX" = %(owner)s::text
          AND %(of_actor)s::text IS NULL
          AND actor IS NULL
          AND timestamp >= %(since)s::timestamptz
          AND timestamp < %(until)s::timestamptz
        ORDER BY timestamp DESC, task_id DESC
    )
),
counted AS MATERIALIZED (
    -- Of a JSON object, the planner always expects 100 rows: no plan depends on what was known when it was made.
    SELECT
        coalesce(max(tasks), 0) AS tasks,
        jsonb_object_agg(id, first) FILTER (WHERE tasks <= %(most)s::bigint) AS firsts
    FROM (SELECT id, min(version) AS first, count(*) OVER () AS tasks FROM chosen GROUP BY id) AS task
    WHERE NOT EXISTS (SELECT FROM earlier)
),
asked AS MATERIALIZED (
    SELECT key::uuid AS id, value::integer AS first
    FROM counted, jsonb_each_text(firsts)
),
locked AS MATERIALIZED (
    SELECT id, version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = ANY (ARRAY(SELECT id FROM asked WHERE NOT %(dry_run)s::boolean))
    ORDER BY id
    FOR UPDATE
),
chain AS MATERIALIZED (
    SELECT asked.id, entry.*
    FROM asked
    CROSS JOIN LATERAL (
        SELECT
            version,
            actor,
            timestamp,
            coalesce(
                version = %(version)s::integer
                OR request_id = %(of_request)s::text
                OR change_set = %(of_change_set)s::text
                OR actor IS NOT DISTINCT FROM %(of_actor)s::text
                    AND timestamp >= %(since)s::timestamptz
                    AND timestamp < %(until)s::timestamptz,
                false
            ) AS is_chosen,
            lead(version) OVER versions IS NULL AS is_newest,
            coalesce(lag(action_type) OVER versions <> 'DELETED', false) AS was_there,
            action_type <> 'DELETED' AS is_there,
            is_erased(task_history) AS is_erased,
            lag(snapshot) OVER versions AS before,
            snapshot
        FROM task_history
        WHERE owner = %(owner)s::text
          AND task_id = asked.id
          AND version >= asked.first - 1
        WINDOW versions AS (ORDER BY version)
    ) AS entry
    WHERE entry.version >= asked.first
),
checked AS MATERIALIZED (
    SELECT
        greatest(clock_timestamp(), max(chain.timestamp) + interval '1 microsecond') AS now,
        bool_or(CASE WHEN chain.is_there THEN chain.version END IS DISTINCT FROM locked.version)
            AND NOT %(dry_run)s::boolean AS is_raced,
        bool_and(chain.version = ANY (%(expected)s::integer[])) IS FALSE AS is_mismatch
    FROM chain
    LEFT JOIN locked ON locked.id = chain.id
    WHERE chain.is_newest
),
edits AS MATERIALIZED (
    SELECT id, field, version, actor, timestamp, is_chosen, old, new
    FROM chain
    CROSS JOIN LATERAL (
        VALUES
            ('task', to_jsonb(was_there), to_jsonb(is_there)),
            ('title', before -> 'title', snapshot -> 'title'),
            ('description', before -> 'description', snapshot -> 'description'),
            ('is_completed', before -> 'completed_at', snapshot -> 'completed_at')
    ) AS edit (field, old, new)
    -- Nothing is before version 1: null, so that it is an edit of `task` alone.
    WHERE old <> new
),
runs AS MATERIALIZED (
    SELECT
        id,
        field,
        began,
        version,
        actor,
        timestamp,
        wanted,
        CASE
            WHEN wanted = now THEN 'done'
            WHEN others > 0 AND field = 'is_completed' AND (wanted = 'null') = (now = 'null') THEN 'done'
            WHEN others > 0 THEN 'changed'
            WHEN NOT is_allowed(field, wanted #>> '{}') THEN 'refused'
            ELSE 'open'
        END AS verdict
    FROM (
        -- The chosen edits with the fewest others after them are the last run; the first of these began it.
        SELECT DISTINCT ON (id, field)
            id, field, others, version AS began, old AS wanted,
            last_version AS version, last_actor AS actor, last_timestamp AS timestamp, now
        FROM (
            SELECT
                id, field, version, is_chosen, old,
                count(*) FILTER (WHERE NOT is_chosen) OVER later AS others,
                first_value(version) OVER later AS last_version,
                first_value(actor) OVER later AS last_actor,
                first_value(timestamp) OVER later AS last_timestamp,
                first_value(new) OVER later AS now
            FROM edits
            WINDOW later AS (PARTITION BY id, field ORDER BY version DESC)
        ) AS edit
        WHERE is_chosen
        ORDER BY id, field, others, began
    ) AS run
),
fates AS MATERIALIZED (
    SELECT
        id,
        max(verdict) FILTER (WHERE field = 'task') AS verdict,
        max(began) FILTER (WHERE field = 'task') AS began,
        bool_or(wanted::boolean) FILTER (WHERE field = 'task' AND verdict = 'open') AS stays,
        bool_or(field <> 'task' AND verdict <> 'done') AS has_edits,
        jsonb_object_agg(CASE field WHEN 'is_completed' THEN 'completed_at' ELSE field END, wanted)
            FILTER (WHERE field <> 'task' AND verdict = 'open') AS changes
    FROM runs
    GROUP BY id
),
others AS MATERIALIZED (
    SELECT DISTINCT ON (id) id, version, actor, timestamp
    FROM chain
    WHERE NOT is_chosen
    ORDER BY id, version DESC
),
plans AS MATERIALIZED (
    SELECT
        chain.id,
        chain.timestamp,
        chain.actor,
        chain.is_there,
        chain.is_erased,
        coalesce(fates.stays, chain.is_there) AS stays,
        jsonb_populate_record(
            NULL::tasks,
            chain.snapshot || jsonb_build_object('owner', %(owner)s::text, 'version', chain.version)
        ) AS task,
        fates.changes,
        CASE
            WHEN chain.is_erased THEN true
            -- Whether it is there was for others to say.
            WHEN fates.verdict = 'changed' THEN true
            WHEN chain.is_there THEN coalesce(NOT fates.stays AND others.version > fates.began, false)
            ELSE fates.verdict IS NULL AND coalesce(fates.has_edits, false)
        END AS is_blocked
    FROM chain
    LEFT JOIN fates ON fates.id = chain.id
    LEFT JOIN others ON others.id = chain.id
    WHERE chain.is_newest
),
conflicts AS MATERIALIZED (
    SELECT
        id,
        field,
        version,
        actor,
        to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp,
        verdict
    FROM (
        SELECT others.id, 'task' AS field, others.version, others.actor, others.timestamp, 'changed' AS verdict
        FROM plans
        JOIN others ON others.id = plans.id
        WHERE plans.is_blocked
          AND NOT plans.is_erased
        UNION ALL
        SELECT id, 'task', (task).version, actor, timestamp, 'erased'
        FROM plans
        WHERE is_erased
        UNION ALL
        SELECT runs.id, runs.field, runs.version, runs.actor, runs.timestamp, runs.verdict
        FROM plans
        JOIN runs ON runs.id = plans.id
        WHERE plans.stays
          AND NOT plans.is_blocked
          AND runs.field <> 'task'
          AND runs.verdict IN ('changed', 'refused')
    ) AS conflict
),
planned AS MATERIALIZED (
    SELECT
        id,
        is_there,
        stays,
        task AS before,
        jsonb_populate_record(
            task,
            coalesce(changes, '{}')
                || CASE
                    WHEN changes ? 'completed_at'
                        THEN jsonb_build_object('is_completed', changes ->> 'completed_at' IS NOT NULL)
                    ELSE '{}'
                END
                || jsonb_build_object(
                    'updated_at', now + entry * interval '1 microsecond',
                    'version', (task).version + 1
                )
        ) AS after,
        entry
    FROM (
        SELECT id, is_there, stays, task, changes, row_number() OVER (ORDER BY timestamp DESC, id) - 1 AS entry
        FROM plans
        WHERE NOT is_blocked
          AND (is_there <> stays OR stays AND changes IS NOT NULL)
    ) AS plan
    CROSS JOIN checked
    WHERE NOT is_raced
      AND NOT is_mismatch
      AND (%(skip_conflicts)s::boolean OR NOT EXISTS (SELECT FROM conflicts))
),
wanted AS MATERIALIZED (
    SELECT id, is_there, stays, before, after, entry
    FROM planned
    WHERE NOT %(dry_run)s::boolean
),
updated AS (
    UPDATE tasks
    SET title = (after).title,
        description = (after).description,
        is_completed = (after).is_completed,
        completed_at = (after).completed_at,
        updated_at = (after).updated_at,
        version = (after).version
    FROM wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = wanted.id
      -- Said twice, so that no plan reads all tasks to find these.
      AND tasks.id = ANY (ARRAY(SELECT id FROM wanted WHERE is_there AND stays))
    RETURNING tasks.id
),
deleted AS (
    DELETE FROM tasks
    USING wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = wanted.id
      AND tasks.id = ANY (ARRAY(SELECT id FROM wanted WHERE NOT stays))
    RETURNING tasks.id
),
restored AS (
    INSERT INTO tasks (
        owner, id, title, description, is_completed, created_at, updated_at, completed_at, version
    )
    SELECT
        %(owner)s::text,
        id,
        (after).title,
        (after).description,
        (after).is_completed,
        (after).created_at,
        (after).updated_at,
        (after).completed_at,
        (after).version
    FROM wanted
    WHERE NOT is_there
    ORDER BY id
    RETURNING id
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest, request_entry
    )
    SELECT
        %(owner)s::text,
        id,
        undo_action(before, after, is_there, stays),
        undo_text(before, after, is_there, stays),
        (after).updated_at,
        (after).version,
        to_jsonb(answer(CASE WHEN stays THEN after ELSE before END)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea,
        entry
    FROM wanted
    -- Each change comes before its entry.
    WHERE id IN (SELECT id FROM updated UNION ALL SELECT id FROM deleted UNION ALL SELECT id FROM restored)
    RETURNING task_id
)
SELECT
    CASE
        WHEN (SELECT tasks FROM counted) > %(most)s::bigint THEN 'too_many'
        WHEN is_raced THEN 'raced'
        WHEN EXISTS (SELECT FROM logged) THEN 'written'
        WHEN is_mismatch THEN 'mismatch'
        WHEN EXISTS (SELECT FROM conflicts) AND NOT %(skip_conflicts)s::boolean THEN 'conflict'
        WHEN (SELECT tasks FROM counted) > 0 THEN 'unchanged'
        WHEN EXISTS (
            SELECT FROM task_history WHERE owner = %(owner)s::text AND task_id = %(task_id)s::uuid
        ) THEN 'no_version'
        ELSE 'nothing'
    END AS outcome,
    (
        SELECT coalesce(
            json_agg(
                ROW(
                    id,
                    (after).version,
                    undo_text(before, after, is_there, stays),
                    CASE WHEN stays THEN answer(after) END
                )::undo_change
                ORDER BY entry
            ),
            '[]'
        )::text
        FROM planned
    ) AS changes,
    (
        SELECT coalesce(
            json_agg(ROW(id, field, version, actor, timestamp)::undo_conflict ORDER BY id, field), '[]'
        )::text
        FROM conflicts
    ) AS conflicts,
    (
        SELECT CASE
            WHEN coalesce(planned.stays, plans.stays)
                THEN row_to_json(answer(coalesce(planned.after, plans.task)))::text
        END
        FROM plans
        LEFT JOIN planned ON planned.id = plans.id
        LIMIT 1
    ) AS task,
    (
        SELECT coalesce((planned.after).version, (plans.task).version)
        FROM plans
        LEFT JOIN planned ON planned.id = plans.id
        LIMIT 1
    ) AS version,
    CASE
        WHEN is_mismatch THEN (SELECT changes_since(task, %(expected)s::integer[]) FROM plans)
        WHEN (SELECT tasks FROM counted) > %(most)s::bigint THEN (SELECT tasks::text FROM counted)
        ELSE (
            SELECT string_agg(said, '; ' ORDER BY place) FILTER (WHERE place <= 3)
                || CASE WHEN count(*) > 3 THEN '; and ' || count(*) - 3 || ' more' ELSE '' END
            FROM (
                SELECT
                    CASE field WHEN 'task' THEN 'task ' ELSE field || ' of task ' END || id
                        || CASE verdict
                            WHEN 'refused' THEN ' must not be what it was before version '
                            WHEN 'erased' THEN ' has no texts any more since version '
                            ELSE ' was changed in version '
                        END
                        || version || ' (' || concat_ws(', ', actor, timestamp) || ')' AS said,
                    row_number() OVER (ORDER BY id, field) AS place
                FROM conflicts
            ) AS conflict
        )
    END AS said
FROM checked
WHERE NOT EXISTS (SELECT FROM earlier)
UNION ALL
SELECT
    CASE WHEN bool_and(request_digest = %(request_digest)s::bytea) THEN 'replayed' ELSE 'key_reused' END,
    json_agg(
        ROW(
            (entry).task_id,
            (entry).version,
            (entry).description,
            CASE WHEN (entry).action_type <> 'DELETED' THEN answer((entry).snapshot) END
        )::undo_change
        ORDER BY request_entry
    )::text,
    '[]',
    min(
        CASE WHEN (entry).action_type <> 'DELETED' THEN row_to_json(answer((entry).snapshot))::text END
    ),
    min((entry).version),
    NULL
FROM earlier
HAVING count(*) > 0;


-- restore_task(owner, task_id, version, expected, actor, request_id, change_set, idempotency_key, request_digest)
-- The whole task as it was at a version; without one, a deleted task as it was at the end. `expected`: as for
-- change_task.
--   newest    the newest entry, and the task that it left, or deleted
--   asked     the entry whose task is wanted; without a version, the newest one. Of a task whose texts are erased, none
--             returns
--   moment    the time, and whether the newest entry is that of the locked task
-- The answer is (outcome, task, version, said): as of undo_changes, or deletion (which no task can be restored to).
WITH earlier AS MATERIALIZED (
    SELECT request_digest, snapshot, version
    FROM task_history
    WHERE owner = %(owner)s::text
      AND idempotency_key = %(idempotency_key)s::text
      AND request_entry = 0
),
newest AS MATERIALIZED (
    SELECT
        version,
        timestamp,
        action_type <> 'DELETED' AS is_there,
        is_erased(task_history) AS is_erased,
        jsonb_populate_record(
            NULL::tasks, snapshot || jsonb_build_object('owner', owner, 'version', version)
        ) AS before
    FROM task_history
    WHERE owner = %(owner)s::text
      AND task_id = %(task_id)s::uuid
      AND NOT EXISTS (SELECT FROM earlier)
    ORDER BY version DESC
    LIMIT 1
),
asked AS MATERIALIZED (
    SELECT snapshot, action_type = 'DELETED' AND %(version)s::integer IS NOT NULL AS is_deletion
    FROM task_history
    WHERE owner = %(owner)s::text
      AND task_id = %(task_id)s::uuid
      AND version = CASE WHEN %(version)s::integer IS NULL THEN (SELECT version FROM newest) ELSE %(version)s END
),
locked AS MATERIALIZED (
    SELECT version
    FROM tasks
    WHERE owner = %(owner)s::text
      AND id = %(task_id)s::uuid
      AND EXISTS (SELECT FROM newest)
    FOR UPDATE
),
moment AS MATERIALIZED (
    SELECT
        greatest(clock_timestamp(), timestamp + interval '1 microsecond') AS now,
        is_there,
        is_erased,
        before,
        CASE WHEN is_there THEN newest.version END IS DISTINCT FROM locked.version AS is_raced,
        newest.version = ANY (%(expected)s::integer[]) IS FALSE AS is_mismatch
    FROM newest
    LEFT JOIN locked ON true
),
changed AS MATERIALIZED (
    SELECT
        is_there,
        is_erased,
        before,
        jsonb_populate_record(
            before, snapshot || jsonb_build_object('updated_at', now, 'version', (before).version + 1)
        ) AS after
    FROM moment
    CROSS JOIN asked
    WHERE NOT is_raced
      AND NOT is_deletion
      AND NOT is_mismatch
),
refused AS MATERIALIZED (
    SELECT CASE
        WHEN is_erased THEN 'task ' || (before).id || ' has no texts any more since version ' || (before).version
        ELSE nullif(
            concat_ws(
                ' and ',
                CASE WHEN (after).title <> (before).title AND NOT is_allowed('title', (after).title) THEN 'title' END,
                CASE
                    WHEN (after).description <> (before).description
                        AND NOT is_allowed('description', (after).description)
                        THEN 'description'
                END
            ),
            ''
        ) || ' must not be what it was at version ' || %(version)s::integer
    END AS said
    FROM changed
),
wanted AS MATERIALIZED (
    SELECT is_there, before, after
    FROM changed
    CROSS JOIN refused
    WHERE said IS NULL
      AND (
          NOT is_there
          OR ((after).title, (after).description, (after).completed_at)
              IS DISTINCT FROM ((before).title, (before).description, (before).completed_at)
      )
),
updated AS (
    UPDATE tasks
    SET title = (after).title,
        description = (after).description,
        is_completed = (after).is_completed,
        completed_at = (after).completed_at,
        updated_at = (after).updated_at,
        version = (after).version
    FROM wanted
    WHERE tasks.owner = %(owner)s::text
      AND tasks.id = %(task_id)s::uuid
      AND is_there
    RETURNING before, after, is_there
),
restored AS (
    INSERT INTO tasks (
        owner, id, title, description, is_completed, created_at, updated_at, completed_at, version
    )
    SELECT
        %(owner)s::text,
        (after).id,
        (after).title,
        (after).description,
        (after).is_completed,
        (after).created_at,
        (after).updated_at,
        (after).completed_at,
        (after).version
    FROM wanted
    WHERE NOT is_there
    RETURNING id
),
logged AS (
    INSERT INTO task_history (
        owner, task_id, action_type, description, timestamp, version, snapshot,
        actor, request_id, change_set, idempotency_key, request_digest
    )
    SELECT
        %(owner)s::text,
        (after).id,
        undo_action(before, after, is_there, true),
        undo_text(before, after, is_there, true),
        (after).updated_at,
        (after).version,
        to_jsonb(answer(after)),
        %(actor)s::text,
        %(request_id)s::text,
        %(change_set)s::text,
        %(idempotency_key)s::text,
        %(request_digest)s::bytea
    FROM wanted
    -- The change comes before its entry.
    WHERE EXISTS (SELECT FROM updated) OR EXISTS (SELECT FROM restored)
    RETURNING task_id
)
SELECT
    CASE
        WHEN is_raced THEN 'raced'
        WHEN EXISTS (SELECT FROM logged) THEN 'written'
        WHEN NOT EXISTS (SELECT FROM asked) THEN 'no_version'
        WHEN (SELECT is_deletion FROM asked) THEN 'deletion'
        WHEN is_mismatch THEN 'mismatch'
        WHEN (SELECT said IS NOT NULL FROM refused) THEN 'conflict'
        ELSE 'unchanged'
    END AS outcome,
    row_to_json(answer(coalesce((SELECT after FROM wanted), before)))::text AS task,
    coalesce((SELECT (after).version FROM wanted), (before).version) AS version,
    CASE
        WHEN is_mismatch THEN changes_since(before, %(expected)s::integer[])
        ELSE (SELECT said FROM refused)
    END AS said
FROM moment
UNION ALL
SELECT
    CASE WHEN request_digest = %(request_digest)s::bytea THEN 'replayed' ELSE 'key_reused' END,
    row_to_json(answer(snapshot))::text,
    version,
    NULL
FROM earlier;
