"""The views. Each parses with a schema, calls the repository once, and answers."""

from taskapi.blueprints.as_of import as_of
from taskapi.blueprints.bulk import bulk
from taskapi.blueprints.changes import changes
from taskapi.blueprints.health import health
from taskapi.blueprints.history import history
from taskapi.blueprints.stats import stats
from taskapi.blueprints.tasks import tasks
from taskapi.blueprints.undo import undo

BLUEPRINTS = (tasks, bulk, undo, as_of, history, changes, stats, health)
