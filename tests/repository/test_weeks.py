"""The weekly figures at the borders of weeks, of years, and of what counts at all; always in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.sql import Sql
from tests.support.tasks import add_task, id_of

MONDAY = "2026-01-05T00:00:00Z"


def stats(repository: Repository, at: str) -> dict[str, Any]:
    figures: dict[str, Any] = orjson.loads(repository.weekly_stats(at=datetime.fromisoformat(at)))
    return figures


def test_nothing_at_first(repository: Repository) -> None:
    assert stats(repository, MONDAY) == {
        "tasks_created_this_week": 0,
        "tasks_completed_this_week": 0,
        "total_completed": 0,
        "total_incomplete": 0,
        "total_tasks": 0,
        "week_start": "2026-01-05T00:00:00Z",
        "week_end": "2026-01-11T23:59:59Z",
    }


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-01-04T23:59:59.999999Z", "2025-12-29T00:00:00Z", "2026-01-04T23:59:59Z"),
        ("2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", "2026-01-11T23:59:59Z"),
        ("2026-01-11T23:59:59.999999Z", "2026-01-05T00:00:00Z", "2026-01-11T23:59:59Z"),
        # The same moments, told by clocks elsewhere.
        ("2026-01-05T05:44:59.999999+05:45", "2025-12-29T00:00:00Z", "2026-01-04T23:59:59Z"),
        ("2026-01-04T19:00:00-05:00", "2026-01-05T00:00:00Z", "2026-01-11T23:59:59Z"),
        # A year of 53 weeks ends on a Sunday of the next one.
        ("2021-01-03T23:59:59Z", "2020-12-28T00:00:00Z", "2021-01-03T23:59:59Z"),
        ("2020-12-31T12:00:00Z", "2020-12-28T00:00:00Z", "2021-01-03T23:59:59Z"),
        ("2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-03T23:59:59Z"),
        # A year that begins on a Monday, and the end of February in a leap year.
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-01-07T23:59:59Z"),
        ("2024-02-29T12:00:00Z", "2024-02-26T00:00:00Z", "2024-03-03T23:59:59Z"),
        # Where clocks in Europe change on the Sunday.
        ("2026-03-29T01:30:00Z", "2026-03-23T00:00:00Z", "2026-03-29T23:59:59Z"),
    ],
)
def test_the_week_of_a_moment(at: str, start: str, end: str, shared_repository: Repository) -> None:
    figures = stats(shared_repository, at)
    assert (figures["week_start"], figures["week_end"]) == (start, end)


def test_without_a_moment_it_is_this_week(shared_repository: Repository) -> None:
    before = datetime.now(UTC)
    figures = orjson.loads(shared_repository.weekly_stats())
    after = datetime.now(UTC)
    mondays = {(now - timedelta(days=now.weekday())).date() for now in (before, after)}
    assert datetime.fromisoformat(figures["week_start"]).date() in mondays


@pytest.fixture(params=["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Europe/Berlin"])
def somewhere(request: pytest.FixtureRequest, database_url: str, sql: Sql, new_repository: NewRepository) -> Repository:
    """A repository whose sessions live in another time zone."""
    sql.execute(f"ALTER DATABASE {sql.database} SET timezone = '{request.param}'")
    return new_repository(database_url)


def test_what_counts_for_a_week(somewhere: Repository, sql: Sql) -> None:
    # The last and the first moments of three weeks, each as a task's creation and as a completion.
    borders = (
        "2026-01-04T23:59:59.999999Z",
        "2026-01-05T00:00:00Z",
        "2026-01-11T23:59:59.999999Z",
        "2026-01-12T00:00Z",
    )
    for border in borders:
        add_task(sql, border)
        add_task(sql, "2020-01-01T00:00:00Z", border)
    totals = {"total_completed": 4, "total_incomplete": 4, "total_tasks": 8}
    for at, expected in (("2026-01-02T00:00:00Z", 1), ("2026-01-07T00:00:00Z", 2), ("2026-01-13T00:00:00Z", 1)):
        figures = stats(somewhere, at)
        assert (figures["tasks_created_this_week"], figures["tasks_completed_this_week"]) == (expected, expected)
        assert {name: figures[name] for name in totals} == totals
    assert stats(somewhere, "2020-01-01T00:00:00Z")["tasks_created_this_week"] == 4


def test_a_week_over_the_change_of_the_year(somewhere: Repository, sql: Sql) -> None:
    for created in ("2020-12-27T23:59:59.999999Z", "2020-12-28T00:00Z", "2021-01-01T00:00Z", "2021-01-03T23:59:59.9Z"):
        add_task(sql, created)
    for at in ("2020-12-28T00:00:00Z", "2020-12-31T23:59:59Z", "2021-01-01T00:00:00Z", "2021-01-03T23:59:59Z"):
        assert stats(somewhere, at)["tasks_created_this_week"] == 3
    assert stats(somewhere, "2021-01-04T00:00:00Z")["tasks_created_this_week"] == 0


def test_only_tasks_that_exist_count(repository: Repository) -> None:
    before = orjson.loads(repository.weekly_stats())
    _, done, reopened, deleted = (id_of(repository.create_task(title="x", description=None)) for _ in range(4))
    for task_id in (done, reopened, deleted):
        repository.set_task_completed(task_id=task_id, is_completed=True)
    repository.set_task_completed(task_id=reopened, is_completed=False)
    repository.delete_task(task_id=deleted)
    figures = orjson.loads(repository.weekly_stats())
    # Not where midnight between Sunday and Monday was meanwhile.
    if figures["week_start"] == before["week_start"]:
        assert figures["tasks_created_this_week"] == 3
        assert figures["tasks_completed_this_week"] == 1
    assert (figures["total_completed"], figures["total_incomplete"], figures["total_tasks"]) == (1, 2, 3)
