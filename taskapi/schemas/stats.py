"""Statistics."""

from marshmallow import fields

from taskapi.schemas.answers import Answer, Success, moment


class WeeklyStatsSchema(Answer):
    """The figures of the week, of tasks that exist, from one snapshot."""

    tasks_created_this_week = fields.Integer(required=True)
    tasks_completed_this_week = fields.Integer(required=True)
    total_completed = fields.Integer(required=True)
    total_incomplete = fields.Integer(required=True)
    total_tasks = fields.Integer(required=True)
    week_start = moment("Monday, 00:00:00Z.")
    week_end = moment("Sunday of the same week, 23:59:59Z.")


class StatsAnswerSchema(Success):
    """The week's figures."""

    data = fields.Nested(WeeklyStatsSchema, required=True)
