"""How the service runs under gunicorn, and what its master process does before the first worker starts."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from taskapi.errors import ConfigurationError
from taskapi.logs import config as logging_config
from taskapi.settings import Settings

try:
    settings = Settings.from_environment()
except ConfigurationError as error:
    sys.exit(f"taskapi: {error}")

bind = settings.address
workers = settings.workers
worker_class = "taskapi.worker.Worker"

# How long a connection may stay without a request, and how long a request's head may take.
keepalive = 20
# Workers that end have this long to answer what they have begun: longer than any request may take.
graceful_timeout = int(settings.request_deadline) + 5
# A heartbeat of the worker itself, not a limit for requests.
timeout = 60

# Code is loaded by each worker, so that a reload (HUP) brings the new one.
preload_app = False
control_socket_disable = True
logger_class = "taskapi.logs.QuietLogger"
logconfig_dict = logging_config(settings)


def on_starting(server):
    """Start the development database where none is given, bring the schema up, and cap the connections."""
    if not settings.database_url:
        _start_embedded_database()
    if not _schema_is_ready():
        sys.exit(1)
    server.migrations = _migrations()
    _share_between_workers()
    if not settings.api_tokens:
        server.log.info("API_TOKENS is not set: the API is open to everybody who can reach it")


def on_reload(server):
    """A new version may bring a new schema. Only then look: it takes a connection beyond DB_CONNECTIONS."""
    if _migrations() == server.migrations:
        return
    if _schema_is_ready():
        server.migrations = _migrations()
    else:
        server.log.error("The schema is not this version's; requests will fail until it is")


def post_fork(server, worker):
    """End at once when told to, until the worker listens to signals itself: the master's handlers would keep silent."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def post_worker_init(worker):
    """When the last of the first workers is ready, say where."""
    if worker.age == settings.workers:
        host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host
        url = f"http://{host}:{settings.port}"
        print(
            f"taskapi is ready: {url}/api/docs  ·  try: curl -X POST {url}/api/v1/tasks"
            """ -H 'Content-Type: application/json' -d '{"title": "Buy milk"}'""",
            flush=True,
        )


def _start_embedded_database():
    from taskapi.embedded import EmbeddedError, EmbeddedPostgres

    database = EmbeddedPostgres(settings.data_dir)
    print(f"DATABASE_URL is not set: starting the embedded PostgreSQL in {settings.data_dir}/", flush=True)
    try:
        os.environ["DATABASE_URL"] = database.start()
    except EmbeddedError as error:
        sys.exit(f"taskapi: {error}")
    _at_end_of_master(database.stop)


def _share_between_workers():
    """Make the folders in which the workers share the connections' slots and the metrics."""
    shared = Path(tempfile.mkdtemp(prefix="taskapi-"))
    for variable in ("TASKAPI_SLOTS", "PROMETHEUS_MULTIPROC_DIR"):
        folder = shared / variable.lower()
        folder.mkdir()
        os.environ[variable] = str(folder)
    _at_end_of_master(shutil.rmtree, shared, ignore_errors=True)


def _schema_is_ready():
    # In a process of its own: the master stays small, and free of libraries that must not be there before a fork.
    return subprocess.run([sys.executable, "-m", "taskapi.migrations"]).returncode == 0


def _migrations():
    return {path.name for path in Path(__file__).with_name("alembic").glob("versions/*.py")}


def _at_end_of_master(function, *arguments, **options):
    master = os.getpid()
    atexit.register(lambda: os.getpid() == master and function(*arguments, **options))
