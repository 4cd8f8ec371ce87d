"""Every statement locks the history before the tasks, as migrations do: so neither waits for the other."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from taskapi.database import queries
from tests.support.sql import Sql

TASK = str(uuid4())

ARGUMENTS = {
    "owner": "default",
    "task": '{"title": "x", "description": null}',
    "tasks": '[{"title": "x", "description": null}]',
    "task_id": TASK,
    "changes": '{"title": "y"}',
    "elements": f'[{{"id": "{TASK}", "title": "y"}}]',
    "entries": 3,
    "expected": "{7}",
    "version": 1,
    "of_request": None,
    "of_change_set": None,
    "of_actor": None,
    "since": None,
    "until": "infinity",
    "most": 1000,
    "skip_conflicts": False,
    "dry_run": False,
    "actor": None,
    "request_id": None,
    "change_set": None,
    "idempotency_key": None,
    "known": "{1:1:/}",
    "limit": 10,
    "counts": True,
    "request_digest": None,
}

STATEMENTS = (
    "create_task",
    "change_task",
    "delete_task",
    "create_tasks",
    "change_tasks",
    "delete_tasks",
    "undo_changes",
    "restore_task",
    "get_task_with_history",
    "list_tasks",
    "list_tasks_page",
)

LOCKED = """
SELECT array_agg(DISTINCT relation::regclass::text)
FROM pg_locks
WHERE pid = %(pid)s AND locktype = 'relation' AND granted AND relation IN ('tasks'::regclass, 'task_history'::regclass)
HAVING (SELECT count(*) FROM pg_locks WHERE pid = %(pid)s AND NOT granted) = 1
"""


def test_these_are_all_that_ask_both() -> None:
    asks = {
        name
        for name, statement in queries.load().items()
        if {"tasks", "task_history"} <= set(statement.text.replace("(", " ").split())
    }
    assert asks - {"schema_version"} == set(STATEMENTS)


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_history_is_first(name: str, prepared: bool, emptied_database_url: str) -> None:
    statement = queries.load()[name]
    values = {parameter: ARGUMENTS.get(parameter) for parameter in statement.parameters}
    with Sql(emptied_database_url) as holder, Sql(emptied_database_url) as asker, ThreadPoolExecutor(1) as thread:
        pid = asker.value("SELECT pg_backend_pid()")
        asker.execute("SET plan_cache_mode = force_generic_plan")
        if prepared:
            asker.execute(statement.prepare)
            asker.execute(statement.execute, values)
        with holder.transaction():
            holder.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
            done = thread.submit(asker.execute, statement.execute if prepared else statement.text, values)
            while not (found := holder.rows(LOCKED, {"pid": pid})):
                assert not done.done()
        done.result()
    assert found == [(["task_history"],)]
