"""The views: each parses with a schema, asks the repository once, and answers."""

from taskapi.blueprints.health import health
from taskapi.blueprints.history import history
from taskapi.blueprints.stats import stats
from taskapi.blueprints.tasks import tasks

BLUEPRINTS = (tasks, history, stats, health)
