"""Statistics: which week or days a request asks for, and how the figures look."""

from datetime import UTC
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from taskapi.days import MONDAY, SUNDAY, days_between, today, week_of, written
from taskapi.schemas.answers import Answer, Success, moment
from taskapi.schemas.fields import FIRST_DAYS, Code, Day, Moment, Query, Zone

MOST_DAYS = 92

OUTSIDE = "must leave the week, in UTC, within the years 1 to 9999"
DAYS_OUTSIDE = "must leave the days, in UTC, within the years 1 to 9999"


def _zone() -> Zone:
    return Zone(
        metadata={"description": "The time zone of the days, by its IANA name; by default, UTC.", "example": "UTC"}
    )


class WeeklyQuerySchema(Query):
    """Which week, and as of when."""

    date = Day(metadata={"description": "A day of the week; by default, the day of `as_of`, or today."})
    tz = _zone()
    week_start: fields.String = Code(
        "FirstDay",
        validate=validate.OneOf(FIRST_DAYS, error="must be one of {choices}"),
        metadata={"description": "The day that a week begins with; by default, monday."},
    )
    as_of = Moment(
        floor=True,
        metadata={"description": "The figures as they were at this time, changes at that time included."},
    )

    @post_load
    def _selection(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The repository's arguments; without any parameter, none."""
        if not query:
            return {}
        first_day = SUNDAY if query.get("week_start") == "sunday" else MONDAY
        zone, as_of = query.get("tz", UTC), query.get("as_of")
        try:
            week = week_of(query.get("date") or today(zone, as_of), zone, first_day)
            # What cannot be told is not counted either.
            for end in week:
                written(end)
        except (OverflowError, ValueError):
            raise ValidationError(OUTSIDE, "date" if "date" in query else "as_of") from None
        return {"week": week, "as_of": as_of}


class DailyQuerySchema(Query):
    """Which days."""

    start = Day(data_key="from", required=True, metadata={"description": "The first day.", "example": "2025-12-08"})
    end = Day(
        data_key="before",
        required=True,
        metadata={"description": f"The day after the last one: at most {MOST_DAYS} days.", "example": "2025-12-10"},
    )
    tz = _zone()

    @post_load
    def _selection(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The repository's arguments."""
        start, end = query["start"], query["end"]
        if not 1 <= (end - start).days <= MOST_DAYS:
            raise ValidationError(f"must be from 1 to {MOST_DAYS} days after from", "before")
        try:
            bounds = days_between(start, end, query.get("tz", UTC))
        except (OverflowError, ValueError):
            raise ValidationError(DAYS_OUTSIDE, "from") from None
        return {"start": start, "bounds": bounds}


class WeeklyStatsSchema(Answer):
    """The figures of the week, all from one snapshot: of tasks that exist, or existed as of the moment asked for."""

    tasks_created_this_week = fields.Integer(required=True)
    tasks_completed_this_week = fields.Integer(required=True)
    total_completed = fields.Integer(required=True)
    total_incomplete = fields.Integer(required=True)
    total_tasks = fields.Integer(required=True)
    week_start = moment("The midnight that the week begins with.")
    week_end = moment("A second before the midnight that the next one begins with.")


class StatsAnswerSchema(Success):
    """The week's figures."""

    data = fields.Nested(WeeklyStatsSchema, required=True)


class DayStatsSchema(Answer):
    """How many of the tasks that exist were created and completed on the day."""

    date = fields.Date(required=True)
    created = fields.Integer(required=True)
    completed = fields.Integer(required=True)


class DailyStatsSchema(Answer):
    """The figures of each day, all from one snapshot."""

    days = fields.List(fields.Nested(DayStatsSchema), required=True)


class DailyStatsAnswerSchema(Success):
    """The days' figures."""

    data = fields.Nested(DailyStatsSchema, required=True)
