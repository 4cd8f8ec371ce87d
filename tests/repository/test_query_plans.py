"""Every statement of sql/ uses the index that it was written for, whenever its plan was made."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from taskapi.database import queries
from taskapi.database.connection import OWN_PLAN, PLANNING
from tests.support.owners import secured
from tests.support.server import Server
from tests.support.sql import Sql


class Plan(NamedTuple):
    """How a statement goes to the tables: by which indexes, and whether it sorts. A plan for the arguments at hand may
    do without those in `unless`."""

    indexes: set[str]
    sorts: bool = False
    unless: set[str] = set()


# A write looks for its idempotency key, and for its task.
WRITE = {"task_history_idempotency_key", "tasks_pkey"}
# A total is what has been counted, and what is new since.
TOTAL = {"history_totals_pkey", "task_history_feed"}

PLANS = {
    "create_task": Plan({"task_history_idempotency_key"}),
    # They also look at what is new since the client's list.
    "list_tasks": Plan({"task_history_feed", "tasks_list"}),
    "get_task": Plan({"tasks_pkey"}),
    "change_task": Plan(WRITE),
    "delete_task": Plan(WRITE),
    # What they sort is the request: its tasks, by id and by place.
    "create_tasks": Plan({"task_history_idempotency_key"}, sorts=True),
    "change_tasks": Plan(WRITE, sorts=True),
    "delete_tasks": Plan(WRITE, sorts=True),
    # What they sort is what was chosen, by task and field.
    "undo_changes": Plan(
        {
            *WRITE,
            *("task_history_pkey", "task_history_request", "task_history_change_set", "task_history_actor"),
            "task_history_list",
        },
        sorts=True,
        unless={"task_history_list"},
    ),
    "restore_task": Plan({*WRITE, "task_history_pkey"}),
    "list_history": Plan({*TOTAL, "task_history_list"}),
    # What they sort is the page, and the days.
    "list_tasks_page": Plan({"task_history_feed", "tasks_list"}, sorts=True),
    "list_far_history": Plan({*TOTAL, "task_history_list", "task_history_pkey", "history_periods_pkey"}, sorts=True),
    "list_history_by_action": Plan({*TOTAL, "task_history_list_by_action", "task_history_pkey"}, sorts=True),
    "list_history_by_task": Plan({"task_history_pkey"}),
    # What it sorts is a request, and the entries of a task.
    "select_history": Plan(
        {
            *TOTAL,
            "task_history_actor",
            "task_history_change_set",
            "task_history_list",
            "task_history_list_by_action",
            "task_history_pkey",
            "task_history_request",
        },
        sorts=True,
    ),
    # What it sorts is a few entries, and the page.
    "list_changes": Plan({"task_history_feed", "task_history_list"}, sorts=True),
    "get_task_with_history": Plan({"task_history_pkey", "tasks_pkey"}),
    "get_task_as_of": Plan({"task_history_pkey"}),
    # What they sort is the page, which is found far away by a function of its own; and the days.
    "list_tasks_as_of": Plan({"task_history_list_by_action", "task_history_pkey"}, sorts=True),
    "list_versions": Plan({"task_history_pkey"}, sorts=True),
    "weekly_stats_as_of": Plan({*TOTAL, "task_history_list_by_action", "task_history_pkey"}, sorts=True),
    "daily_stats": Plan({*TOTAL, "task_history_pkey", "history_periods_pkey"}, sorts=True),
    "daily_stats_by_tasks": Plan({"tasks_list"}, sorts=True),
    "weekly_stats": Plan({*TOTAL, "task_history_pkey", "history_periods_pkey"}),
    "fold_totals": Plan({*TOTAL, "task_history_pkey"}, sorts=True),
    "schema_version": Plan(set()),
    # These two are functions, which look into the tables with plans of their own.
    "is_rewound": Plan(set()),
    "owners_with_news": Plan(set()),
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
def lesser(big: Sql, module_database_url: str) -> Iterator[Sql]:
    """A connection to the same database as a role that row-level security holds for."""
    with Sql(secured(module_database_url)) as sql:
        yield like_the_services(sql)


@pytest.fixture(scope="module")
def arguments(big: Sql) -> dict[str, Any]:
    """A value for every parameter there is."""
    ids = [task_id for (task_id,) in big.rows("SELECT id FROM tasks ORDER BY created_at OFFSET 50000 LIMIT 50")]
    return {
        "action_type": "COMPLETED",
        "actor": "ann",
        "after": 1,
        "after_created_at": "2025-06-01T00:00:00Z",
        "after_id": ids[0],
        "after_is_completed": False,
        "after_timestamp": "2025-06-01T00:00:00Z",
        "as_of": "2025-06-01T00:00:00Z",
        "bounds": "{1780000000,1780604800}",
        "change_set": "run",
        "changes": '{"is_completed": true}',
        "elements": f'[{{"id": "{ids[0]}", "is_completed": true, "version": 3}}]',
        "dry_run": False,
        "ends": 1780000000 + 604800,
        "entries": 10,
        "expected": "{2}",
        "idempotency_key": "key",
        "is_completed": True,
        "length": "1 day",
        "limit": 10,
        "most": 1000,
        "of_actor": "ann",
        "of_change_set": "run",
        "of_request": "request",
        "newest": None,
        "offset": 1000,
        "owner": "default",
        "owners": "{default}",
        "snapshots": "{1:1:}",
        "pattern": None,
        "after_task_id": ids[0],
        "completed_before": None,
        "completed_from": None,
        "counts": True,
        "created_before": "infinity",
        "created_from": "-infinity",
        "begins_completed": False,
        "known": "{1:1:/}",
        "timestamp_before": None,
        "timestamp_from": None,
        "updated_before": None,
        "updated_from": None,
        "request_digest": b"digest",
        "request_id": "request",
        "since": "2026-01-01T00:00:00Z",
        "skip_conflicts": False,
        "seen": "1:1:",
        "starts": 1780000000,
        "task": '{"title": "x", "description": null}',
        "task_id": ids[0],
        "tasks": '[{"title": "x", "description": null}]',
        "until": "infinity",
        "version": 2,
        "upto": None,
        "walk": 100,
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
            # Which is true of every row.
            step.get("Index Cond", "").replace(" AND (version IS NOT NULL)", ""),
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
    indexes = {step["Index Name"] for step in found if "Index Name" in step} - {"taskapi_version_pkc"}
    assert expected.indexes - indexes <= (expected.unless if mode == "force_custom_plan" else set())
    assert indexes <= expected.indexes
    whole = {step["Relation Name"] for step in found if step["Node Type"] == "Seq Scan"}
    assert not whole & {"tasks", "task_history", "history_periods"}
    assert expected.sorts or not [step for step in found if "Sort" in step["Node Type"]]


@pytest.mark.parametrize("name", PLANS)
def test_row_level_security_changes_no_plan(name: str, big: Sql, lesser: Sql, arguments: dict[str, Any]) -> None:
    big.execute("SET plan_cache_mode = force_generic_plan")
    assert looks(steps(lesser, name, arguments)) == looks(steps(big, name, arguments))


def test_a_search_uses_an_index_for_texts_where_there_is_one(big: Sql, arguments: dict[str, Any]) -> None:
    big.execute("CREATE EXTENSION pg_trgm")
    big.execute("CREATE INDEX tasks_text ON tasks USING gin (title gin_trgm_ops, description gin_trgm_ops)")
    try:
        with big.transaction():
            big.execute(OWN_PLAN)
            rare = steps(big, "list_tasks_page", {**arguments, "pattern": "[Qq][Uu][Oo][Kk]", "counts": False})
            common = steps(big, "list_tasks_page", {**arguments, "pattern": "[Tt][Aa][Ss][Kk]", "counts": False})
    finally:
        big.execute("DROP EXTENSION pg_trgm CASCADE")
    assert "tasks_text" in {step.get("Index Name") for step in rare}
    assert "tasks_text" not in {step.get("Index Name") for step in common}


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
