"""What gunicorn serves: `gunicorn wsgi:app`, with the settings of the environment."""

from taskapi.app import create_app
from taskapi.settings import Settings

app = create_app(Settings.from_environment())
