"""The application. Read create_app() from top to bottom for the architecture."""

from flask import Flask

from taskapi.blueprints import BLUEPRINTS
from taskapi.database.database import Database
from taskapi.repository import Repository
from taskapi.settings import Settings
from taskapi.web.access import init_access
from taskapi.web.api import init_api
from taskapi.web.application import Application
from taskapi.web.cors import init_cors
from taskapi.web.errors import init_errors
from taskapi.web.followers import Followers
from taskapi.web.metrics import init_metrics
from taskapi.web.observation import Observation
from taskapi.web.prefix import Prefix


def create_app(settings: Settings) -> Flask:
    """Make the WSGI application. It opens its database connections when the first requests need them.

    Raises ConfigurationError if DATABASE_URL is not a PostgreSQL URL.
    """
    app = Application("taskapi", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes

    database = Database(settings)  # sql/*.sql on a pool of connections: deadlines, retries, the driver's errors
    repository = Repository(database)  # one method for each statement
    followers = Followers(repository, settings)  # those who follow the changes, on one connection
    app.extensions["taskapi"] = repository
    app.extensions["taskapi.followers"] = followers  # the worker ends them, and
    app.extensions["taskapi.database"] = database  # drains this, before it ends

    init_access(app, settings)  # host names and bearer tokens
    init_cors(app, settings)  # other origins' pages
    init_errors(app)  # every exception becomes an answer in the envelope
    init_api(app, settings, BLUEPRINTS)  # the blueprints, the OpenAPI document and the docs page
    figures = init_metrics(app, settings)  # /metrics, if METRICS is on
    if settings.script_name:
        app.wsgi_app = Prefix(app.wsgi_app, settings.script_name)  # type: ignore[method-assign]  # the start of each path
    app.wsgi_app = Observation(app.wsgi_app, settings, figures)  # type: ignore[method-assign]  # request ids, logs, metrics
    return app
