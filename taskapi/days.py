"""Days and weeks of the time zones: at which moment each begins. So the statements need no zones."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from importlib import resources

DAY, QUARTER = 24 * 60 * 60, 15 * 60
"""Seconds of a day in UTC, and of a quarter of an hour."""

MONDAY, SUNDAY = 0, 6
"""The days on which a week may begin, as date.weekday() counts."""


@cache
def zones() -> frozenset[str]:
    """The names of the time zones, from the package tzdata, which has a list of them.

    Only these exact names count. ZoneInfo also takes names of other files, and zoneinfo.available_timezones() opens
    some 1,200 files.
    """
    return frozenset((resources.files("tzdata") / "zones").read_text(encoding="utf-8").split())


def begins(day: date, zone: tzinfo) -> int:
    """The first moment of the day in the zone, in seconds since 1970. A day that a zone left out begins and ends with
    the moment at which its clocks skip it.

    Raises OverflowError or ValueError at the ends of the calendar.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    first, last = sorted(int(midnight.replace(fold=fold).timestamp()) for fold in (0, 1))
    if datetime.fromtimestamp(first, zone).date() == day:
        # As always, but for midnights that come twice: the day begins with the first one.
        return first
    # Clocks go forward over midnight, in between.
    while first < last:
        middle = (first + last) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            first = middle + 1
        else:
            last = middle
    return first


def today(zone: tzinfo, moment: datetime | None = None) -> date:
    """The date of the moment in the zone, by default of now."""
    return (moment or datetime.now(UTC)).astimezone(zone).date()


def week_of(day: date, zone: tzinfo, first_day: int = MONDAY) -> tuple[int, int]:
    """When the week of the day begins, and the next one. Raises OverflowError or ValueError, as begins() does."""
    start = day - timedelta(days=(day.weekday() - first_day) % 7)
    return begins(start, zone), begins(start + timedelta(days=7), zone)


def days_between(start: date, end: date, zone: tzinfo) -> list[int]:
    """When each day from `start` on begins, and `end`. Raises OverflowError or ValueError, as begins() does."""
    return [begins(start + timedelta(days=number), zone) for number in range((end - start).days + 1)]


def written(moment: int) -> str:
    """Seconds since 1970 as the contract writes a moment, in UTC. Raises OverflowError or ValueError outside of the
    years 1 to 9999."""
    return (datetime(1970, 1, 1) + timedelta(seconds=moment)).isoformat() + "Z"
