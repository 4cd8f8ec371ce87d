"""The operations on tasks: one method for each statement of sql/, keyword arguments in, JSON text out."""

from taskapi.repository.as_of import AsOf
from taskapi.repository.bulk import Bulk
from taskapi.repository.changes import ChangesOfTasks
from taskapi.repository.health import Health
from taskapi.repository.history import History
from taskapi.repository.overview import Overview
from taskapi.repository.stats import Stats
from taskapi.repository.tasks import Tasks
from taskapi.repository.undo import Undo


class Repository(Tasks, Bulk, Undo, AsOf, Overview, History, ChangesOfTasks, Stats, Health):
    """Tasks and their history: a class for each file of sql/. Every method is one statement, one round trip and one
    transaction. A read that finds many uncounted entries runs a second one, which updates the totals.

    It is about the tasks of one owner; of() makes that of another one.

    All methods may raise DatabaseUnavailable. Writes take an optional `idempotency_key`, and raise IdempotencyKeyReused
    if it belongs to another request.
    """
