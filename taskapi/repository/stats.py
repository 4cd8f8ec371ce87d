"""Statistics."""

import time
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from taskapi.repository.base import Base

MONDAY, WEEK = 4 * 24 * 60 * 60, 7 * 24 * 60 * 60
"""The first Monday of 1970 as seconds since 1970, and the seconds of a week. In UTC no clock changes."""


class Stats(Base):
    """The statements of sql/stats.sql."""

    def weekly_stats(self, *, at: datetime | None = None) -> bytes:
        """The figures of the week (Monday to Sunday, UTC) of `at`, by default now, as a JSON object."""
        now = time.time() if at is None else at.timestamp()
        starts = MONDAY + int((now - MONDAY) // WEEK) * WEEK
        ends = starts + WEEK
        created, completed, complete, tasks, uncounted = self._read("weekly_stats", starts=starts, ends=ends)
        self._keep_totals(uncounted)
        return orjson.dumps(
            {
                "tasks_created_this_week": created,
                "tasks_completed_this_week": completed,
                "total_completed": complete,
                "total_incomplete": tasks - complete,
                "total_tasks": tasks,
                "week_start": _moment(starts),
                "week_end": _moment(ends - 1),
            }
        )


@lru_cache(maxsize=16)
def _moment(seconds: int) -> str:
    """A number of seconds since 1970 as the contract writes a moment, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
