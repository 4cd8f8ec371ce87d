"""When the days and weeks of the time zones begin: where clocks change, and at the ends of the calendar."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from taskapi.days import DAY, QUARTER, SUNDAY, begins, days_between, today, week_of, written, zones

HOUR = 60 * 60


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", 25),
        ("Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15:00Z", 24),
        ("Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00:00Z", 24),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24.5),
        # Midnights that never come: clocks go forward at midnight, or half an hour before it.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23),
        ("Asia/Beirut", "2021-03-28", "2021-03-27T22:00:00Z", 23),
        ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00Z", 23),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30:00Z", 23.5),
        # Midnights that come twice: clocks go back to midnight, or over it.
        ("America/Havana", "2025-11-02", "2025-11-02T04:00:00Z", 25),
        ("America/Goose_Bay", "2010-11-07", "2010-11-07T03:00:00Z", 25),
        # A day that was left out, between two others.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", 24),
        # Clocks that went by the sun.
        ("Africa/Monrovia", "1970-01-01", "1970-01-01T00:44:30Z", 24),
    ],
)
def test_a_day_begins_with_its_first_moment(zone: str, day: str, begin: str, hours: float) -> None:
    first = begins(date.fromisoformat(day), ZoneInfo(zone))
    after = begins(date.fromisoformat(day) + timedelta(days=1), ZoneInfo(zone))
    assert (written(first), (after - first) / HOUR) == (begin, hours)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "America/Goose_Bay", "Africa/Cairo"])
def test_no_earlier_moment_has_the_date(zone: str) -> None:
    """Looked for minute by minute."""
    there = ZoneInfo(zone)
    minutes = [int(datetime(2010, 12, 31, tzinfo=UTC).timestamp()) + 60 * number for number in range(368 * 24 * 60)]
    first = dict[date, int]()
    for minute in minutes:
        first.setdefault(datetime.fromtimestamp(minute, there).date(), minute)
    for day in list(first)[1:-1]:
        assert begins(day, there) == first[day]


def test_days_follow_each_other() -> None:
    bounds = days_between(date(2026, 3, 1), date(2026, 4, 1), ZoneInfo("Europe/Berlin"))
    assert len(bounds) == 32
    assert [after - before for before, after in pairwise(bounds)].count(DAY) == 30
    assert not any(bound % QUARTER for bound in bounds)


@pytest.mark.parametrize(
    ("day", "first_day", "starts", "hours"),
    [
        ("2026-11-18", 0, "2026-11-15T23:00:00Z", 168),
        ("2026-11-18", SUNDAY, "2026-11-14T23:00:00Z", 168),
        ("2026-11-15", 0, "2026-11-08T23:00:00Z", 168),
        ("2026-11-15", SUNDAY, "2026-11-14T23:00:00Z", 168),
        ("2026-03-29", 0, "2026-03-22T23:00:00Z", 167),
        ("2026-03-28", SUNDAY, "2026-03-21T23:00:00Z", 168),
        ("2026-10-19", 0, "2026-10-18T22:00:00Z", 169),
    ],
)
def test_the_week_of_a_day(day: str, first_day: int, starts: str, hours: int) -> None:
    start, end = week_of(date.fromisoformat(day), ZoneInfo("Europe/Berlin"), first_day)
    assert (written(start), (end - start) / HOUR) == (starts, hours)


def test_the_ends_of_the_calendar() -> None:
    assert written(week_of(date(1, 1, 1), UTC)[0]) == "0001-01-01T00:00:00Z"
    assert written(week_of(date(9999, 12, 20), ZoneInfo("Asia/Tokyo"))[1]) == "9999-12-26T15:00:00Z"
    for day, zone in ((date.max, UTC), (date.min, ZoneInfo("Asia/Tokyo"))):
        with pytest.raises((OverflowError, ValueError)):
            written(week_of(day, zone)[0])


def test_today_is_elsewhere_another_day() -> None:
    moment = datetime(2026, 1, 1, 10, 30, tzinfo=UTC)
    assert [today(ZoneInfo(zone), moment).day for zone in ("Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago")] == [
        2,
        1,
        31,
    ]


def test_the_zones_are_those_of_the_list() -> None:
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "EST5EDT"} <= zones()
    assert not {"", "europe/berlin", "Europe", "localtime", "posixrules", "abc5", "+01:00", "tzdata.zi"} & zones()
    assert all(ZoneInfo(zone).key == zone for zone in zones())
