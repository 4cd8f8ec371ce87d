"""Health."""

from marshmallow import fields

from taskapi.schemas.answers import Answer, Success


class HealthSchema(Answer):
    """The service itself."""

    status = fields.String(required=True)
    service = fields.String(required=True)
    version = fields.String(required=True)


class ReadySchema(Answer):
    """The service and its database."""

    status = fields.String(required=True)
    schema = fields.String(required=True, metadata={"description": "The migration that the database is at."})


class HealthAnswerSchema(Success):
    """The service is up."""

    data = fields.Nested(HealthSchema, required=True)


class ReadyAnswerSchema(Success):
    """The service can serve."""

    data = fields.Nested(ReadySchema, required=True)
