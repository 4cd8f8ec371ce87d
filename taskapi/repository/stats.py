"""Statistics."""

import time
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from taskapi import days
from taskapi.repository.as_of import known
from taskapi.repository.base import Base

MONDAY, WEEK = 4 * 24 * 60 * 60, 7 * 24 * 60 * 60
"""The first Monday of 1970 as seconds since 1970, and the seconds of a week. In UTC no clock changes."""

LENGTHS = ((days.DAY, "1 day"), (days.QUARTER, "15 minutes"))
"""The lengths of the periods whose totals are kept, in seconds and as SQL says them."""


class Stats(Base):
    """The statements of sql/stats.sql. Moments are in seconds since 1970."""

    def weekly_stats(
        self, *, at: datetime | None = None, week: tuple[int, int] | None = None, as_of: datetime | None = None
    ) -> bytes:
        """The figures of a week as a JSON object: the one between two moments, by default the one (Monday to Sunday,
        UTC) of `at` or of now.

        They are of the tasks that exist, or existed `as_of` a moment. Raises MomentToCome if that is too far ahead.
        """
        starts, ends = week or _week_of(time.time() if at is None else at.timestamp())
        length = _length((starts, ends))
        if as_of is None and length:
            figures = self._read("weekly_stats", length=length, starts=starts, ends=ends)
        else:
            figures = known(self._read("weekly_stats_as_of", as_of=as_of, starts=starts, ends=ends))
        created, completed, complete, tasks, uncounted = figures
        self._keep_totals(uncounted)
        return orjson.dumps(
            {
                "tasks_created_this_week": created,
                "tasks_completed_this_week": completed,
                "total_completed": complete,
                "total_incomplete": tasks - complete,
                "total_tasks": tasks,
                "week_start": _written(starts),
                "week_end": _written(ends - 1),
            }
        )

    def daily_stats(self, *, start: date, bounds: Sequence[int]) -> bytes:
        """How many of the tasks that exist were created and completed on each day from `start` on, as the JSON object
        {days}. Each day begins at one of the bounds, and ends at the next one."""
        literal = f"{{{','.join(map(str, bounds))}}}"
        asked: dict[str, Any] = {"starts": bounds[0], "ends": bounds[-1], "bounds": literal}
        if length := _length(bounds):
            created, completed, uncounted = self._read("daily_stats", length=length, **asked)
            self._keep_totals(uncounted)
        else:
            created, completed = self._read("daily_stats_by_tasks", **asked)
        figures: list[dict[str, Any]] = [
            {"date": start + timedelta(days=number), "created": created[number], "completed": completed[number]}
            for number in range(len(bounds) - 1)
        ]
        return orjson.dumps({"days": figures})


def _week_of(moment: float) -> tuple[int, int]:
    starts = MONDAY + int((moment - MONDAY) // WEEK) * WEEK
    return starts, starts + WEEK


def _length(bounds: Iterable[int]) -> str | None:
    """The longest periods at whose beginnings all the bounds are; None where there are none."""
    for seconds, length in LENGTHS:
        if not any(bound % seconds for bound in bounds):
            return length
    return None


@lru_cache(maxsize=16)
def _written(moment: int) -> str:
    return days.written(moment)
