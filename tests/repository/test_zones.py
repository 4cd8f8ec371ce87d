"""The figures of days and weeks in the time zones, against a count in Python, whether the totals know them or not."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest

from taskapi.database import queries
from taskapi.days import begins, days_between, week_of, written
from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.sql import Sql
from tests.support.tasks import add_task

ZONES = {
    "UTC": date(2026, 1, 3),
    "Europe/Berlin": date(2026, 3, 28),
    "Asia/Kathmandu": date(2026, 1, 3),
    "Australia/Lord_Howe": date(2026, 4, 4),
    "Pacific/Kiritimati": date(2026, 1, 3),
    # A day that was left out.
    "Pacific/Apia": date(2011, 12, 29),
    # Midnights that never come, and that come twice.
    "America/Sao_Paulo": date(2018, 11, 3),
    "America/Havana": date(2025, 11, 1),
    # Clocks that go by the sun.
    "Africa/Monrovia": date(1970, 1, 3),
    "Europe/Amsterdam": date(1935, 6, 1),
}
"""A day in each zone, beside which something happens."""

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def times(module_database_url: str) -> list[tuple[datetime, datetime | None]]:
    """When each task was created and completed: around the beginnings of days in each zone."""
    chance, made = random.Random(1), list[tuple[datetime, datetime | None]]()
    with Sql(module_database_url) as sql:
        for zone, day in ZONES.items():
            edges = [moment(begins(day + timedelta(days=number), ZoneInfo(zone))) for number in range(-1, 3)]
            for edge in edges:
                near = [edge + chance.choice([-1, 0, 1]) * MICROSECOND, edge - MICROSECOND, edge]
                near.append(edge + timedelta(seconds=chance.randint(-5000, 5000)))
                made += [(created, None) for created in near]
                made += [(edges[0] - timedelta(days=chance.randint(1, 9)), completed) for completed in near]
        for created, completed in made:
            add_task(sql, created, completed)
    return made


@pytest.fixture(params=["not yet counted", "counted"])
def known(
    request: pytest.FixtureRequest, module_database_url: str, times: object, new_repository: NewRepository
) -> Iterator[Repository]:
    """A repository on a database whose totals know of none of the tasks, or of all. Its sessions live elsewhere."""
    with Sql(module_database_url) as sql:
        sql.execute(f"ALTER DATABASE {sql.database} SET timezone = 'Asia/Kolkata'")
        sql.execute("TRUNCATE history_totals, history_periods")
        if request.param == "counted":
            sql.execute(queries.load()["fold_totals"].text, {"owner": "default"})
    # So that no read counts them.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taskapi.repository.base.UNCOUNTED", 10**6)
        yield new_repository(module_database_url)


@pytest.mark.parametrize("zone", ZONES)
def test_days(zone: str, known: Repository, times: list[tuple[datetime, datetime | None]]) -> None:
    there, first = ZoneInfo(zone), ZONES[zone] - timedelta(days=4)
    bounds = days_between(first, first + timedelta(days=9), there)
    days = orjson.loads(known.daily_stats(start=first, bounds=bounds))["days"]
    assert [day["date"] for day in days] == [(first + timedelta(days=number)).isoformat() for number in range(9)]
    for number, day in enumerate(days):
        start, end = moment(bounds[number]), moment(bounds[number + 1])
        assert day["created"] == sum(start <= created < end for created, _ in times)
        assert day["completed"] == sum(done is not None and start <= done < end for _, done in times)
    assert sum(day["created"] for day in days) > 10


@pytest.mark.parametrize("first_day", [0, 6])
@pytest.mark.parametrize("zone", ZONES)
def test_weeks(zone: str, first_day: int, known: Repository, times: list[tuple[datetime, datetime | None]]) -> None:
    week = week_of(ZONES[zone], ZoneInfo(zone), first_day)
    start, end = map(moment, week)
    later = max(start, *(done for _, done in times if done is not None)) + timedelta(days=1)
    expected = {
        "tasks_created_this_week": sum(start <= created < end for created, _ in times),
        "tasks_completed_this_week": sum(done is not None and start <= done < end for _, done in times),
        "total_completed": sum(done is not None for _, done in times),
        "total_incomplete": sum(done is None for _, done in times),
        "total_tasks": len(times),
        "week_start": written(week[0]),
        "week_end": written(week[1] - 1),
    }
    assert orjson.loads(known.weekly_stats(week=week)) == expected
    assert orjson.loads(known.weekly_stats(week=week, as_of=later)) == expected
    middle = start + (end - start) / 2
    figures = orjson.loads(known.weekly_stats(week=week, as_of=middle))
    assert figures["total_tasks"] == sum(created <= middle for created, _ in times)
    assert figures["tasks_completed_this_week"] == sum(
        done is not None and start <= done < end and done <= middle for _, done in times
    )


def test_a_zone_without_a_clock_change_is_as_good_as_utc(known: Repository) -> None:
    week = week_of(date(2026, 1, 7), UTC)
    at = datetime(2026, 1, 7, tzinfo=UTC)
    assert known.weekly_stats(week=week) == known.weekly_stats(at=at) == known.weekly_stats(week=week, at=at)
