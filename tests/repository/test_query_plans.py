"""Every statement of sql/ uses the index that it was written for, whenever its plan was made."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from taskapi.database import queries
from taskapi.database.connection import PLANNING
from tests.support.server import Server
from tests.support.sql import Sql


class Plan(NamedTuple):
    """How a statement goes to the tables: by which indexes, and whether it sorts."""

    indexes: set[str]
    sorts: bool = False


# A write looks for its idempotency key, and for its task.
WRITE = {"task_history_idempotency_key", "tasks_pkey"}
# A total is what has been counted, and what is new since.
TOTAL = {"history_totals_pkey", "task_history_feed"}

PLANS = {
    "create_task": Plan({"task_history_idempotency_key"}),
    "list_tasks": Plan({"tasks_list"}),
    "get_task": Plan({"tasks_pkey"}),
    "change_task": Plan(WRITE),
    "delete_task": Plan(WRITE),
    # What they sort is the request: its tasks, by id and by place.
    "create_tasks": Plan({"task_history_idempotency_key"}, sorts=True),
    "change_tasks": Plan(WRITE, sorts=True),
    "delete_tasks": Plan(WRITE, sorts=True),
    "list_history": Plan({*TOTAL, "task_history_list"}),
    # What they sort is the page, and the days.
    "list_tasks_page": Plan({"tasks_list"}, sorts=True),
    "list_far_history": Plan({*TOTAL, "task_history_list", "task_history_pkey", "history_periods_pkey"}, sorts=True),
    "list_history_by_action": Plan({*TOTAL, "task_history_list_by_action", "task_history_pkey"}, sorts=True),
    "list_history_by_task": Plan({"task_history_pkey"}),
    "get_task_with_history": Plan({"task_history_pkey", "tasks_pkey"}),
    "weekly_stats": Plan({*TOTAL, "task_history_pkey", "history_periods_pkey"}),
    "fold_totals": Plan({*TOTAL, "task_history_pkey"}, sorts=True),
    "schema_version": Plan(set()),
    # What it sorts, and reads all of, is the owners.
    "is_rewound": Plan({"task_history_feed"}, sorts=True),
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
    """A connection like the service's to a database with 100,000 tasks and 300,000 entries."""
    with Sql(module_database_url) as sql:
        with sql.without_triggers():
            sql.execute(TASKS)
            sql.execute(HISTORY)
        for table in ("tasks", "task_history"):
            sql.execute(f"VACUUM (ANALYZE) {table}")
        yield like_the_services(sql)


def like_the_services(sql: Sql) -> Sql:
    """The connection, with the settings that the service makes, and every statement prepared."""
    sql.execute(PLANNING.replace("SET LOCAL", "SET"))
    for statement in queries.load().values():
        sql.execute(statement.prepare)
    return sql


@pytest.fixture(scope="module")
def arguments(big: Sql) -> dict[str, Any]:
    """A value for every parameter there is."""
    ids = [task_id for (task_id,) in big.rows("SELECT id FROM tasks ORDER BY created_at OFFSET 50000 LIMIT 50")]
    return {
        "action_type": "COMPLETED",
        "after_created_at": "2025-06-01T00:00:00Z",
        "after_id": ids[0],
        "after_is_completed": False,
        "changes": f'[{{"id": "{ids[0]}", "is_completed": true}}]',
        "ends": 1780000000 + 604800,
        "entries": 10,
        "excerpt": 100,
        "idempotency_key": "key",
        "is_completed": True,
        "limit": 10,
        "offset": 1000,
        "owner": "default",
        "pattern": None,
        "request_digest": b"digest",
        "starts": 1780000000,
        "task": '{"title": "x", "description": null}',
        "task_id": ids[0],
        "task_ids": f"{{{','.join(ids)}}}",
        "tasks": '[{"title": "x", "description": null}]',
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def steps(sql: Sql, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    statement = queries.load()[name]
    values = {parameter: arguments[parameter] for parameter in statement.parameters}
    (explained,) = sql.value(f"EXPLAIN (FORMAT JSON) {statement.execute}", values)
    return list(nodes(explained["Plan"]))


def looks(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Where a plan looks into the tables, and by what it finds the rows."""
    return [
        (
            step.get("Index Name", step["Relation Name"]),
            step["Node Type"].replace(" Only", ""),
            step.get("Index Cond", ""),
        )
        for step in found
        if "Relation Name" in step and "Scan" in step["Node Type"]
    ]


def test_every_statement_has_its_line() -> None:
    assert set(PLANS) == set(queries.load())


# The plan for any arguments is the one that the service uses; where it prepares nothing, it is one for those at hand.
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("name", PLANS)
def test_plan(name: str, mode: str, big: Sql, arguments: dict[str, Any]) -> None:
    big.execute(f"SET plan_cache_mode = {mode}")
    found, expected = steps(big, name, arguments), PLANS[name]
    assert {step["Index Name"] for step in found if "Index Name" in step} - {"taskapi_version_pkc"} == expected.indexes
    whole = {step["Relation Name"] for step in found if step["Node Type"] == "Seq Scan"}
    assert not whole & {"tasks", "task_history", "history_periods"}
    assert expected.sorts or not [step for step in found if "Sort" in step["Node Type"]]


SMALL = {
    "empty": "",
    "of one task": TASKS.replace("100000", "1") + ";" + HISTORY,
    "of a hundred tasks": TASKS.replace("100000", "100") + ";" + HISTORY,
    "of a hundred analyzed tasks": TASKS.replace("100000", "100") + ";" + HISTORY + "; ANALYZE tasks, task_history",
}


@pytest.fixture(scope="module", params=SMALL.values(), ids=list(SMALL))
def small(request: pytest.FixtureRequest, postgres: Server, template: str) -> Iterator[Sql]:
    """A connection like the service's to a database that is young."""
    with postgres.database(template) as name, Sql(postgres.url(name)) as sql:
        if request.param:
            with sql.without_triggers():
                sql.execute(request.param)
        yield like_the_services(sql)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_of_a_small_database_is_as_good_when_it_has_grown(
    name: str, small: Sql, big: Sql, arguments: dict[str, Any]
) -> None:
    """A connection keeps its plans while the tables grow: each has the same index and condition."""
    big.execute("SET plan_cache_mode = force_generic_plan")
    assert looks(steps(small, name, arguments)) == looks(steps(big, name, arguments))


TRIGGERS = (
    "SELECT prosrc FROM pg_proc"
    " WHERE proname IN ('tasks_inserted', 'tasks_updated', 'tasks_deleted', 'task_history_inserted')"
)


def test_so_are_those_of_the_triggers(small: Sql) -> None:
    """The triggers' lookups are by whole keys, whenever they are planned."""
    for (source,) in small.rows(TRIGGERS):
        lookup = re.search(r"PERFORM (FROM .*?);", source, re.DOTALL)
        assert lookup
        text = re.sub(r"\b(NEW|OLD)\.(owner)\b", "$1", f"SELECT {lookup[1]}")
        text = re.sub(r"\b(NEW|OLD)\.(task_id|id)\b", "$2", text)
        text = re.sub(r"\b(NEW|OLD)\.version( \+ 1)?", "$3", text)
        small.execute("DEALLOCATE ALL")
        small.execute(f"PREPARE lookup (text, uuid, integer) AS {text}")
        (explained,) = small.value("EXPLAIN (FORMAT JSON) EXECUTE lookup('default', gen_random_uuid(), 1)")
        (found,) = looks(list(nodes(explained["Plan"])))
        assert found[0].endswith("_pkey")
        assert found[2].count("=") == text.count("=")


def test_every_index_is_there_for_a_statement(big: Sql) -> None:
    there = {
        name
        for (name,) in big.rows(
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
            " AND tablename NOT IN ('taskapi_version', 'task_totals', 'task_quarters')"
        )
    }
    assert set().union(*(plan.indexes for plan in PLANS.values())) == there
