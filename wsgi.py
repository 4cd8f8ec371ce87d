"""What gunicorn serves: `gunicorn wsgi:app`, with the settings of the environment."""

import logging.config

from taskapi.app import create_app
from taskapi.logs import config
from taskapi.settings import Settings

settings = Settings.from_environment()
app = create_app(settings)

if not settings.has_gunicorn_conf:
    logging.config.dictConfig(config(settings))
    logging.getLogger("taskapi").warning(
        "taskapi runs without its gunicorn.conf.py: the schema is not looked at, DB_CONNECTIONS and METRICS are each"
        " process's own, and the limits for slow clients, PORT, HOST and WEB_CONCURRENCY are not in force."
        " Start it with: gunicorn -c /path/to/gunicorn.conf.py wsgi:app"
    )
