"""The views. Each parses with a schema, calls the repository once, and answers."""

from taskapi.blueprints.health import health
from taskapi.blueprints.history import history
from taskapi.blueprints.stats import stats
from taskapi.blueprints.tasks import tasks

BLUEPRINTS = (tasks, history, stats, health)
