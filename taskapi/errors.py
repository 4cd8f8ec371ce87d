"""What can go wrong below the web: each class's docstring is its default message, and no class knows HTTP."""


class TaskapiError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    def __str__(self) -> str:
        return str(self.args[0])


class TaskNotFound(TaskapiError):
    """There is no such task."""


class IdempotencyKeyReused(TaskapiError):
    """Idempotency-Key: this key belongs to another request; send a new key with a new request."""


class DatabaseUnavailable(TaskapiError):
    """The database cannot serve this now. Nothing was written; try again."""

    retry_after = 1
    """Seconds after which another try makes sense."""


class PoolBusy(DatabaseUnavailable):
    """Every database connection is busy. Nothing was written; try again."""


class ConnectFailed(DatabaseUnavailable):
    """The database cannot be reached. Nothing was written; try again."""

    retry_after = 2


class NoTimeLeft(DatabaseUnavailable):
    """The time for this request was over before the database could be asked. Nothing was written; try again."""


class RolledBack(DatabaseUnavailable):
    """The database refused this for now. Nothing was written; try again."""


class Conflict(RolledBack):
    """Other requests kept changing the same data. Nothing was written; try again."""


class ReadOnly(DatabaseUnavailable):
    """The database takes no writes now. Nothing was written; try again."""

    retry_after = 2


class AnswerLost(DatabaseUnavailable):
    """The database's answer was lost on its way. Nothing was written; try again."""


class OutcomeUnknown(DatabaseUnavailable):
    """The database's answer was lost on its way. A write may have happened: look before you repeat it."""


class SchemaMismatch(DatabaseUnavailable):
    """The database's schema is not this version's: run the migrations of taskapi. Nothing was written."""

    retry_after = 5


class StatementFailed(TaskapiError):
    """A statement failed for a reason that is not the database's state, but a defect."""


class ConfigurationError(TaskapiError):
    """A setting is missing or wrong."""
