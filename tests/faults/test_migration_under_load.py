"""Migrations run on a live service: code of the version before writes meanwhile, and nothing of it fails or is lost."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import alembic.command
import psycopg2
from alembic.config import Config

from taskapi import repair
from taskapi.migrations import prepare_schema
from taskapi.places import ROOT
from taskapi.revision import head
from taskapi.settings import Settings
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql

TASKS = """
INSERT INTO tasks (title, created_at, updated_at, version)
SELECT 'Task ' || number, moment, moment + interval '2 seconds', 3
FROM generate_series(1, {tasks}) AS number,
     LATERAL (SELECT timestamptz '2026-01-05' + number * interval '1 second' AS moment) AS moments;
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT id, CASE number WHEN 1 THEN 'CREATED' ELSE 'UPDATED' END, '', moment, number,
       to_jsonb(answer(tasks)) || jsonb_build_object(
           'title', title || CASE number WHEN 3 THEN '' ELSE ' ' || number END,
           'updated_at', to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
FROM tasks, LATERAL (
    SELECT number, created_at + (number - 1) * interval '1 second' AS moment
    FROM generate_series(1, 3) AS number
) AS entries
"""

# As the version before this one did it: without an owner, and by the id alone; the history is looked at first.
CREATE = """
WITH earlier AS MATERIALIZED (
    SELECT FROM task_history WHERE idempotency_key = NULL
),
changed AS (
    INSERT INTO tasks (title, created_at, updated_at)
    SELECT %(title)s, now, now FROM clock_timestamp() AS now WHERE NOT EXISTS (SELECT FROM earlier)
    RETURNING id, title, updated_at, version, tasks AS task
)
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT id, 'CREATED', 'title: ''' || title || '''', updated_at, version, to_jsonb(answer(task)) FROM changed
RETURNING task_id
"""
COMPLETE = """
WITH earlier AS MATERIALIZED (
    SELECT FROM task_history WHERE idempotency_key = NULL
),
locked AS MATERIALIZED (
    SELECT id, is_completed, updated_at, version FROM tasks
    WHERE id = %(task_id)s AND NOT EXISTS (SELECT FROM earlier)
    FOR UPDATE
),
changed AS (
    UPDATE tasks
    SET is_completed = NOT locked.is_completed,
        completed_at = CASE WHEN NOT locked.is_completed THEN now END,
        updated_at = now,
        version = locked.version + 1
    FROM locked, LATERAL (
        SELECT greatest(clock_timestamp(), locked.updated_at + interval '1 microsecond') AS now
    ) AS moment
    WHERE tasks.id = locked.id
    RETURNING tasks.id, tasks.is_completed, tasks.updated_at, tasks.version, tasks AS task
)
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT id, CASE WHEN is_completed THEN 'COMPLETED' ELSE 'INCOMPLETED' END, '', updated_at, version,
       to_jsonb(answer(task))
FROM changed
RETURNING task_id
"""


def test_the_version_before_writes_meanwhile(
    empty_database_url: str, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    settings = Settings(database_url=empty_database_url)
    alembic.command.upgrade(Config(ROOT / "alembic.ini", attributes={"settings": settings}), "0003")
    tasks = sized(20_000, 1_000_000)
    with Sql(empty_database_url) as sql:
        with sql.without_triggers():
            sql.execute(TASKS.format(tasks=tasks))
        sql.execute("ANALYZE")
        old = [task_id for (task_id,) in sql.rows("SELECT id FROM tasks LIMIT 1000")]
    done = threading.Event()
    begun = threading.Barrier(5, timeout=10)

    def write(number: int) -> list[float]:
        """Seconds of each write."""
        seconds: list[float] = []
        mine: list[Any] = old[number * 200 : number * 200 + 200]
        with Sql(empty_database_url) as writer:
            writer.execute("SET lock_timeout = '5s'")
            while not done.is_set() or not seconds:
                for statement, values in (
                    (CREATE, {"title": f"of {number}"}),
                    (COMPLETE, {"task_id": mine[len(seconds) % len(mine)]}),
                ):
                    started = time.monotonic()
                    mine.append(writer.value(statement, values))
                    seconds.append(time.monotonic() - started)
                if len(seconds) == 2:
                    begun.wait()
        return seconds

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        begun.wait()
        started = time.monotonic()
        try:
            assert prepare_schema(settings) == f"The database's schema was brought from 0003 to {head()}."
        finally:
            done.set()
        took = time.monotonic() - started
        seconds = [second for writer in writers for second in writer.result()]
    with Sql(empty_database_url) as sql:
        assert_replay_equals_tasks(sql)
        assert sql.value("SELECT count(*) FROM task_history") == 3 * tasks + len(seconds)
        assert not sql.rows("SELECT FROM pg_index WHERE NOT indisvalid")
    connection = psycopg2.connect(empty_database_url)
    assert repair.repair(connection, only_check=True) == []
    connection.close()
    figure(
        f"{tasks:,} tasks and {3 * tasks:,} entries migrated in {took:.0f} s, while 4 clients of older code wrote"
        f" {len(seconds):,} times: none failed, the slowest took {max(seconds):.1f} s; replay equals the tasks"
    )
