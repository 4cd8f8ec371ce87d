"""Statistics: the figures of the week."""

from flask import Response

from taskapi.schemas.stats import StatsAnswerSchema
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success

stats = Blueprint("Statistics", __name__, url_prefix="/api/v1/stats", description="How the week goes.")


@stats.get("/weekly")
@stats.answers(200, StatsAnswerSchema, example=examples.success(examples.STATS))
def weekly_stats() -> Response:
    """Get the figures of the current week

    The week runs from Monday to Sunday in UTC. The figures are of tasks that exist, all from one snapshot.
    """
    return success(stats.repository.weekly_stats())
