"""The weekly statistics: their fields, and their figures against the database."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from taskapi.days import zones
from tests.support.envelope import data_of, error_of
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


def test_the_parameters_of_now_are_the_defaults(own_client: httpx.Client, own_sql: Sql) -> None:
    add_task(own_sql, datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC))
    plain = own_client.get("/stats/weekly")
    today = week_of(data_of(plain)).date().isoformat()
    for query in ("tz=UTC", "week_start=monday", f"date={today}", f"date={today}&tz=Etc/UTC&week_start=monday"):
        assert own_client.get(f"/stats/weekly?{query}").content == plain.content
    as_of = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    assert own_client.get(f"/stats/weekly?as_of={as_of}").content == plain.content


@pytest.mark.parametrize(
    ("query", "week_start", "week_end"),
    [
        ("date=2026-11-18&tz=Europe/Berlin&week_start=sunday", "2026-11-14T23:00:00Z", "2026-11-21T22:59:59Z"),
        ("date=2026-03-29&tz=Europe/Berlin", "2026-03-22T23:00:00Z", "2026-03-29T21:59:59Z"),
        # Where it is Monday already, and where it still is Sunday.
        ("as_of=2026-11-15T23:30:00Z", "2026-11-09T00:00:00Z", "2026-11-15T23:59:59Z"),
        ("as_of=2026-11-15T23:30:00Z&tz=Europe/Berlin", "2026-11-15T23:00:00Z", "2026-11-22T22:59:59Z"),
        ("as_of=2026-11-16T00:30:00Z&tz=America/New_York", "2026-11-09T05:00:00Z", "2026-11-16T04:59:59Z"),
        ("date=0001-01-01", "0001-01-01T00:00:00Z", "0001-01-07T23:59:59Z"),
        ("date=9999-12-20&tz=Asia/Kathmandu", "9999-12-19T18:15:00Z", "9999-12-26T18:14:59Z"),
        ("date=0900-06-01&tz=Africa/Monrovia", "0900-05-31T00:43:08Z", "0900-06-07T00:43:07Z"),
    ],
)
def test_which_week(own_client: httpx.Client, query: str, week_start: str, week_end: str) -> None:
    stats = data_of(own_client.get(f"/stats/weekly?{query}"))
    assert (stats["week_start"], stats["week_end"]) == (week_start, week_end)


def test_it_reads_as_it_did_then(own_client: httpx.Client, own_sql: Sql) -> None:
    add_task(own_sql, "2026-11-10T00:00:00Z", "2026-11-12T00:00:00Z")
    add_task(own_sql, "2026-11-11T00:00:00Z")
    for as_of, created, completed, total in (
        ("2026-11-09T23:59:59.999999Z", 0, 0, 0),
        ("2026-11-10T00:00:00Z", 1, 0, 1),
        ("2026-11-11T23:59:59.999999Z", 2, 0, 2),
        ("2026-11-12T00:00:00Z", 2, 1, 2),
    ):
        stats = data_of(own_client.get(f"/stats/weekly?as_of={as_of}&date=2026-11-10"))
        figures = [stats[f"tasks_{word}_this_week"] for word in ("created", "completed")] + [stats["total_tasks"]]
        assert figures == [created, completed, total]
        assert stats["total_completed"] == completed


def test_each_day(own_client: httpx.Client, own_sql: Sql) -> None:
    add_task(own_sql, "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999999Z")
    add_task(own_sql, "2026-10-24T21:59:59.999999Z", "2026-10-25T23:00:00Z")
    assert data_of(own_client.get("/stats/daily?from=2026-10-24&before=2026-10-27&tz=Europe/Berlin")) == {
        "days": [
            {"date": "2026-10-24", "created": 1, "completed": 0},
            {"date": "2026-10-25", "created": 1, "completed": 1},
            {"date": "2026-10-26", "created": 0, "completed": 1},
        ]
    }
    days = data_of(own_client.get("/stats/daily?from=2026-08-26&before=2026-11-26"))["days"]
    assert (len(days), sum(day["created"] for day in days), days[-1]["date"]) == (92, 2, "2026-11-25")


DAYS = "from=2026-11-01&before=2026-11-25"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *(
            (f"weekly?date={date}", "date")
            for date in ("", "2026-02-30", "2026-11-1", "20261118", "today", "0000-01-01")
        ),
        ("weekly?date=9999-12-31", "date"),
        ("weekly?date=0001-01-01&week_start=sunday", "date"),
        ("weekly?date=0001-01-01&tz=Asia/Tokyo", "date"),
        ("weekly?as_of=0001-01-01T00:00:00Z&tz=America/New_York", "as_of"),
        ("weekly?as_of=9999-12-31T23:59:59Z", "as_of"),
        ("weekly?as_of=9999-12-31T23:59:59Z&tz=Asia/Tokyo", "as_of"),
        *((f"weekly?week_start={day}", "week_start") for day in ("", "Monday", "tuesday", "0")),
        ("weekly?week=1", "week"),
        ("daily", "from"),
        ("daily?from=2026-11-01", "before"),
        ("daily?from=2026-11-25&before=2026-11-25", "before"),
        ("daily?from=2026-11-25&before=2026-11-01", "before"),
        ("daily?from=2026-08-25&before=2026-11-26", "before"),
        ("daily?from=0001-01-01&before=0001-01-02&tz=Asia/Tokyo", "from"),
        ("daily?from=9999-12-30&before=9999-12-31&tz=America/New_York&x=1", "x"),
        (f"daily?{DAYS}&as_of=2026-11-25T00:00:00Z", "as_of"),
    ],
)
def test_what_they_do_not_take(own_client: httpx.Client, path: str, field: str) -> None:
    assert error_of(own_client.get(f"/stats/{path}"), 422).startswith(f"{field}: ")


@pytest.mark.parametrize(
    "zone",
    ["", "Nowhere", "europe/berlin", "EUROPE/BERLIN", "Europe", "Europe/", "Europe/Berlin/", " UTC", "UTC%00",
     "abc5", "%2B01:00", "Z", "/etc/passwd", "/usr/share/zoneinfo/UTC", "../zoneinfo/UTC", "Europe/../UTC", "./UTC",
     "localtime", "posixrules", "right/UTC", "tzdata.zi", "zone.tab", "x" * 3000, "Europe/Berl%C3%ADn",
     "%F0%9F%A6%80", "%ED%A0%80", "Europe%5CBerlin", "NUL"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["weekly?", f"daily?{DAYS}&"])
def test_what_is_no_zone(own_client: httpx.Client, path: str, zone: str) -> None:
    assert error_of(own_client.get(f"/stats/{path}tz={zone}"), 422).startswith("tz: must be the name of a time zone")


def test_every_zone_answers(own_client: httpx.Client) -> None:
    for zone in sorted(zones())[::20]:
        for date in ("0001-01-09", "1915-06-01", "2026-11-18", "9999-12-19"):
            answer = own_client.get("/stats/weekly", params={"tz": zone, "date": date})
            assert answer.status_code == 200, answer.text
