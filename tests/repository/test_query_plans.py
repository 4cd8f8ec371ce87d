"""Every statement of sql/ uses the index that it was written for, at 100,000 tasks and 300,000 entries."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from taskapi.database import queries
from tests.support.sql import Sql


class Plan(NamedTuple):
    """How a statement goes to the two tables: by which indexes, which of them it reads whole, and whether it sorts."""

    indexes: set[str]
    reads_whole: set[str] = set()
    sorts: bool = False


# A write looks for its idempotency key, and for its task.
WRITE = {"task_history_idempotency_key", "tasks_pkey"}

PLANS = {
    "create_task": Plan({"task_history_idempotency_key"}),
    "list_tasks": Plan({"tasks_list"}),
    "get_task": Plan({"tasks_pkey"}),
    "update_task": Plan(WRITE),
    "set_task_completed": Plan(WRITE),
    "delete_task": Plan(WRITE),
    # What they sort is the request: its tasks, by id and by place.
    "create_tasks": Plan({"task_history_idempotency_key"}, sorts=True),
    "set_tasks_completed": Plan(WRITE, sorts=True),
    "delete_tasks": Plan(WRITE, sorts=True),
    "list_tasks_page": Plan({"tasks_list"}),
    # To count all is to read all; the page comes from the index.
    "list_history": Plan({"task_history_list"}, reads_whole={"task_history"}),
    "list_history_by_action": Plan({"task_history_list_by_action"}),
    # A task has a handful of entries.
    "list_history_by_task": Plan({"task_history_version"}, sorts=True),
    "get_task_with_history": Plan({"task_history_version", "tasks_pkey"}, sorts=True),
    "weekly_stats": Plan({"tasks_created_at", "tasks_completed_at"}, reads_whole={"tasks"}),
    "schema_version": Plan(set()),
}

TASKS = """
INSERT INTO tasks (title, description, is_completed, created_at, updated_at, completed_at, version)
SELECT
    'Task ' || number,
    CASE WHEN number % 2 = 0 THEN repeat('words ', 20) END,
    number % 3 = 0,
    moment,
    moment,
    CASE WHEN number % 3 = 0 THEN moment END,
    3
FROM
    generate_series(1, 100000) AS number,
    LATERAL (SELECT timestamptz '2025-01-01' + number * interval '10 minutes' AS moment) AS moments
"""

HISTORY = """
INSERT INTO task_history (
    task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
)
SELECT
    id,
    (ARRAY['CREATED', 'UPDATED', CASE WHEN is_completed THEN 'COMPLETED' ELSE 'INCOMPLETED' END])[number],
    'title: ''Task''',
    created_at + number * interval '1 minute',
    number,
    '{}',
    CASE WHEN number = 1 THEN id::text END,
    CASE WHEN number = 1 THEN '\\x00'::bytea END
FROM tasks, generate_series(1, 3) AS number
"""


@pytest.fixture(scope="module")
def big(module_database_url: str) -> Iterator[Sql]:
    """A direct connection to a big database, with every statement prepared on it."""
    with Sql(module_database_url) as sql:
        with sql.without_triggers():
            sql.execute(TASKS)
            sql.execute(HISTORY)
        for table in ("tasks", "task_history"):
            sql.execute(f"VACUUM (ANALYZE) {table}")
        for statement in queries.load().values():
            sql.execute(statement.prepare)
        yield sql


@pytest.fixture(scope="module")
def arguments(big: Sql) -> dict[str, Any]:
    """A value for every parameter there is."""
    ids = [task_id for (task_id,) in big.rows("SELECT id FROM tasks ORDER BY created_at OFFSET 50000 LIMIT 50")]
    return {
        "action_type": "COMPLETED",
        "after_created_at": "2025-06-01T00:00:00Z",
        "after_id": ids[0],
        "after_is_completed": False,
        "at": "2025-06-01T00:00:00Z",
        "description": "words",
        "entries": 10,
        "excerpt": 100,
        "idempotency_key": "key",
        "is_completed": True,
        "limit": 10,
        "offset": 1000,
        "pattern": None,
        "request_digest": b"digest",
        "sets_description": True,
        "task_id": ids[0],
        "task_ids": f"{{{','.join(ids)}}}",
        "tasks": '[{"title": "x", "description": null}]',
        "title": "Task",
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def test_every_statement_has_its_line() -> None:
    assert set(PLANS) == set(queries.load())


# After some runs Postgres decides between a plan for any arguments and one for those at hand: both must do.
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("name", PLANS)
def test_plan(name: str, mode: str, big: Sql, arguments: dict[str, Any]) -> None:
    big.execute(f"SET plan_cache_mode = {mode}")
    statement = queries.load()[name]
    values = {parameter: arguments[parameter] for parameter in statement.parameters}
    (explained,) = big.value(f"EXPLAIN (FORMAT JSON) {statement.execute}", values)
    steps = list(nodes(explained["Plan"]))
    expected = PLANS[name]
    assert {step["Index Name"] for step in steps if "Index Name" in step} == expected.indexes
    whole = {step["Relation Name"] for step in steps if step["Node Type"] == "Seq Scan"}
    assert whole & {"tasks", "task_history"} == expected.reads_whole
    assert expected.sorts or not [step for step in steps if "Sort" in step["Node Type"]]


def test_every_index_is_there_for_a_statement(big: Sql) -> None:
    there = {
        name
        for (name,) in big.rows(
            "SELECT indexname FROM pg_indexes WHERE tablename IN ('tasks', 'task_history')"
            " AND indexname <> 'task_history_pkey'"
        )
    }
    assert set().union(*(plan.indexes for plan in PLANS.values())) == there
