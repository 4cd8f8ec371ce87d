"""What can go wrong below the web: each class's `sentence` is its default message, and no class knows HTTP."""


class TaskapiError(Exception):
    sentence = "Something went wrong."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.sentence)

    def __str__(self) -> str:
        return str(self.args[0])


class TaskNotFound(TaskapiError):
    sentence = "There is no such task."


class CursorGone(TaskapiError):
    sentence = (
        "The cursor is of another database, or of a time that this database has lost, such as before a restore: read"
        " the list anew, and go on from there."
    )


class IdempotencyKeyReused(TaskapiError):
    sentence = "Idempotency-Key: this key belongs to another request; send a new key with a new request."


class VersionMismatch(TaskapiError):
    sentence = "The task is at another version."

    def __init__(self, message: str, version: int | None = None) -> None:
        """`version`: which one the task is at; None where the error is about several tasks."""
        super().__init__(message)
        self.version = version


class ChangeNotFound(TaskapiError):
    sentence = "There is no such change."


class DeletionChosen(TaskapiError):
    sentence = "This version is the task's deletion; choose one before it."


class TooManyTasks(TaskapiError):
    sentence = "The chosen changes are of too many tasks."


class UndoConflict(TaskapiError):
    sentence = "Others have changed this since. Nothing was written."


class MomentToCome(TaskapiError):
    sentence = "as_of: must not be more than 60 seconds ahead of the database's clock"


class NoAccess(TaskapiError):
    sentence = "Send a valid token in the header: Authorization: Bearer …"


class KeysUnavailable(TaskapiError):
    sentence = "The keys that tokens are checked with cannot be fetched now. Nothing was done; try again."

    retry_after = 10
    """Seconds after which another try makes sense."""


class MustWait(TaskapiError):
    sentence = "The keys that tokens are checked with have to be fetched first."


class DatabaseUnavailable(TaskapiError):
    sentence = "The database cannot serve this now. Nothing was written; try again."

    retry_after = 1
    """Seconds after which another try makes sense."""


class PoolBusy(DatabaseUnavailable):
    sentence = "Every database connection is busy. Nothing was written; try again."


class TooManyFollowers(DatabaseUnavailable):
    sentence = "As many streams and waits as this service allows at once are open. Try again, or ask without `wait`."

    retry_after = 5


class ConnectFailed(DatabaseUnavailable):
    sentence = "The database cannot be reached. Nothing was written; try again."

    retry_after = 2


class NoTimeLeft(DatabaseUnavailable):
    sentence = "The time for this request was over before the database could be asked. Nothing was written; try again."


class RolledBack(DatabaseUnavailable):
    sentence = "The database refused this for now. Nothing was written; try again."


class TimeUp(RolledBack):
    sentence = "The database did not finish this in time. Nothing was written; try again."


class SearchTooLong(TimeUp):
    sentence = (
        "There are too many tasks to look through in time. Narrow the search with is_completed, created_from and"
        " created_before. Operators find in docs/operations.md what makes it faster."
    )


class Conflict(RolledBack):
    sentence = "Other requests kept changing the same data. Nothing was written; try again."


class ReadOnly(DatabaseUnavailable):
    sentence = "The database takes no writes now. Nothing was written; try again."

    retry_after = 2


class NoCursors(DatabaseUnavailable):
    sentence = "The database is a standby now, which does not know what is under way: it has no cursors. Try again."

    retry_after = 2


class AnswerLost(DatabaseUnavailable):
    sentence = "The database's answer was lost on its way. Nothing was written; try again."


class OutcomeUnknown(DatabaseUnavailable):
    sentence = "The database's answer was lost on its way. A write may have happened: look before you repeat it."


class SchemaMismatch(DatabaseUnavailable):
    sentence = "The database's schema is not this version's: run the migrations of taskapi. Nothing was written."

    retry_after = 5


class NotSecured(DatabaseUnavailable):
    sentence = (
        "row-level security is not active for this role. Run `python -m taskapi.role NAME` with DATABASE_URL of the"
        " tables' owner, then serve with the role that it makes."
    )

    retry_after = 5


class DatabaseRewound(DatabaseUnavailable):
    sentence = (
        "The database was loaded into a younger PostgreSQL than it comes from: its history has transactions that are"
        " still to come. Run `python -m taskapi.repair` once, with DATABASE_URL of the tables' owner."
    )

    retry_after = 5


class StatementFailed(TaskapiError):
    sentence = "A statement failed for a reason that is not the database's state, but a defect."


class TurnTaken(TaskapiError):
    sentence = (
        "Another migration of this database has been running for more than a minute. Nothing was changed here; start"
        " again when it has ended."
    )


class ConfigurationError(TaskapiError):
    sentence = "A setting is missing or wrong."
