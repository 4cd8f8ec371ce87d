"""The weekly statistics: their fields, and their figures against the database."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.envelope import data_of
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import add_task

FIGURES = {
    "tasks_created_this_week",
    "tasks_completed_this_week",
    "total_completed",
    "total_incomplete",
    "total_tasks",
}


@pytest.fixture(scope="module")
def own(start_shared: Callable[..., Service]) -> Service:
    """A service whose tasks are only those of this file."""
    return start_shared()


@pytest.fixture
def own_client(own: Service) -> Iterator[httpx.Client]:
    with own.client(base_url=f"{own.url}/api/v1") as client:
        yield client


@pytest.fixture
def own_sql(own: Service) -> Iterator[Sql]:
    """A direct connection to its database, which the test has for itself; it is empty afterwards."""
    with Sql(own.database_url) as sql:
        yield sql
        with sql.without_triggers():
            sql.execute("TRUNCATE tasks, task_history, history_totals, history_periods")


def week_of(stats: dict[str, Any]) -> datetime:
    """The beginning of the week that the figures are of."""
    return datetime.fromisoformat(stats["week_start"])


def expected(sql: Sql, week: datetime) -> dict[str, int]:
    """The figures, counted here."""
    rows = sql.rows("SELECT created_at, completed_at FROM tasks")
    end = week + timedelta(days=7)
    return {
        "tasks_created_this_week": sum(week <= created < end for created, _ in rows),
        "tasks_completed_this_week": sum(done is not None and week <= done < end for _, done in rows),
        "total_completed": sum(done is not None for _, done in rows),
        "total_incomplete": sum(done is None for _, done in rows),
        "total_tasks": len(rows),
    }


def test_no_tasks(own_client: httpx.Client, own_sql: Sql) -> None:
    stats = data_of(own_client.get("/stats/weekly"))
    assert set(stats) == FIGURES | {"week_start", "week_end"}
    assert [stats[figure] for figure in sorted(FIGURES)] == [0] * 5
    assert all(type(stats[figure]) is int for figure in FIGURES)


def test_the_week_is_this_one(own_client: httpx.Client, own_sql: Sql) -> None:
    before = datetime.now(UTC)
    stats = data_of(own_client.get("/stats/weekly"))
    after = datetime.now(UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", stats["week_start"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT23:59:59Z", stats["week_end"])
    start = week_of(stats)
    assert start.weekday() == 0
    assert start <= after
    assert before < start + timedelta(days=7)
    assert datetime.fromisoformat(stats["week_end"]) == start + timedelta(days=7, seconds=-1)


@pytest.mark.parametrize("created", [-8, -7, -1, 0, 3, 6])
@pytest.mark.parametrize("edge", [-1, 0, 1])
def test_the_edges_of_the_week(own_client: httpx.Client, own_sql: Sql, created: int, edge: int) -> None:
    """One task created so many days after Monday, and others completed at a Monday, give or take a microsecond."""
    week = week_of(data_of(own_client.get("/stats/weekly")))
    shift = timedelta(microseconds=edge)
    add_task(own_sql, week + timedelta(days=created) + shift)
    for days in (-7, 0, 7):
        add_task(own_sql, week + timedelta(days=-10), week + timedelta(days=days) + shift)
    stats = data_of(own_client.get("/stats/weekly"))
    assert {figure: stats[figure] for figure in FIGURES} == expected(own_sql, week_of(stats))


def test_the_figures_follow_every_change(own_client: httpx.Client, own_sql: Sql) -> None:
    week = week_of(data_of(own_client.get("/stats/weekly")))
    for weeks in range(4):
        add_task(own_sql, week - timedelta(weeks=weeks, days=1))
        add_task(own_sql, week - timedelta(weeks=weeks, days=1), week - timedelta(weeks=weeks, hours=1))
    tasks = [data_of(own_client.post("/tasks", json={"title": "x"}), 201, "TASK_CREATED")["id"] for _ in range(6)]
    changes: list[tuple[str, str]] = [
        *(("PATCH", f"/tasks/{task_id}/complete") for task_id in tasks[:4]),
        ("PATCH", f"/tasks/{tasks[0]}/complete"),
        ("PATCH", f"/tasks/{tasks[1]}/incomplete"),
        ("DELETE", f"/tasks/{tasks[2]}"),
        ("DELETE", f"/tasks/{tasks[5]}"),
    ]
    for method, path in changes:
        assert own_client.request(method, path).status_code == 200
        stats = data_of(own_client.get("/stats/weekly"))
        assert {figure: stats[figure] for figure in FIGURES} == expected(own_sql, week_of(stats))
        assert stats["total_tasks"] == stats["total_completed"] + stats["total_incomplete"]
    assert stats["total_tasks"] == 8 + 4
    assert stats["total_completed"] == 4 + 2
