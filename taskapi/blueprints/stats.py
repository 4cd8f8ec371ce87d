"""Statistics: the figures of a week, and of each day."""

from typing import Any

from flask import Response

from taskapi.schemas.stats import DailyQuerySchema, DailyStatsAnswerSchema, StatsAnswerSchema, WeeklyQuerySchema
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success

stats = Blueprint("Statistics", __name__, url_prefix="/api/v1/stats", description="How the weeks and days go.")


@stats.get("/weekly")
@stats.arguments(WeeklyQuerySchema(), location="query")
@stats.answers(200, StatsAnswerSchema, example=examples.success(examples.STATS))
def weekly_stats(selection: dict[str, Any]) -> Response:
    """Get the figures of a week

    By default, of the current week from Monday to Sunday in UTC. The figures are of tasks that exist; with `as_of`,
    they are what they were at that time. `week_start` and `week_end` are in UTC. A week in which clocks change has 167
    or 169 hours.
    """
    return success(stats.repository.weekly_stats(**selection))


@stats.get("/daily")
@stats.arguments(DailyQuerySchema(), location="query")
@stats.answers(200, DailyStatsAnswerSchema, example=examples.success(examples.DAILY_STATS))
def daily_stats(selection: dict[str, Any]) -> Response:
    """Get the figures of each day

    How many of the tasks that exist were created and completed on each day from `from` on and before `before`.
    """
    return success(stats.repository.daily_stats(**selection))
