"""How the service runs under gunicorn, and what its master process does before the first worker starts."""

import atexit
import contextlib
import errno
import fcntl
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent

# From wherever it was started: the code is here.
chdir = str(ROOT)
if chdir not in sys.path:
    sys.path.insert(0, chdir)

# A reload reads this file anew. It has to get the new modules, too: workers inherit what the master has loaded.
for name in [name for name in sys.modules if name.partition(".")[0] == "taskapi"]:
    del sys.modules[name]

from taskapi.addresses import netloc  # noqa: E402
from taskapi.database.slots import new_file  # noqa: E402
from taskapi.errors import ConfigurationError  # noqa: E402
from taskapi.logs import config as logging_config  # noqa: E402
from taskapi.logs import take_over_prints  # noqa: E402
from taskapi.reload import Reload  # noqa: E402
from taskapi.settings import METRICS_FOLDER_VARIABLE, SLOTS_VARIABLE, Settings  # noqa: E402
from taskapi.signals import end_in_order, held_back  # noqa: E402

take_over_prints()

try:
    settings = Settings.from_environment()
except ConfigurationError as error:
    sys.exit(f"taskapi: {error}")

bind = settings.address
workers = settings.workers
worker_class = "taskapi.server.worker.Worker"
# For the workers' heartbeats. What empties the folder for temporary files leaves this one alone.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None

# How long a connection may stay without a request, and how long a request's head may take.
keepalive = 20
graceful_timeout = settings.ending_seconds
# A heartbeat of the worker itself, not a limit for requests.
timeout = 60

# A cursor is as long as many transactions are in progress.
limit_request_line = 8190

# No header of a request says where the application is, or by which scheme it was reached, whoever sends it.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# So nobody's address needs to be looked at: there is nothing that it would be trusted with.
forwarded_allow_ips = "*"

# Also where gunicorn's parser in C is installed, which answers to malformed requests in other ways.
http_parser = "python"

# Code is loaded by each worker, so that a reload (HUP) brings the new one.
preload_app = False
control_socket_disable = True
logger_class = "taskapi.server.logger.QuietLogger"
logconfig_dict = logging_config(settings)

# This file was read: see wsgi.py. The variable leads the workers to the connections' slots.
os.environ.setdefault(SLOTS_VARIABLE, "")


def on_starting(server: Any) -> None:
    """Start the development database where none is given, bring the schema up, and cap the connections."""
    end_in_order()
    if server.cfg.preload_app:
        sys.exit(
            "taskapi: --preload does not work here: each worker loads the code itself, so that a reload renews it."
        )
    _tell_the_workers(server)
    _check_addresses(server)
    if not settings.database_url:
        _start_embedded_database()
    if not _runs("taskapi.migrations"):
        sys.exit(1)
    if settings.takes_jwts:
        if settings.database_url:
            # Readiness says so, too, but not everybody asks for it.
            _runs("taskapi.role", output=subprocess.DEVNULL)
        else:
            _serve_embedded_database_as_a_lesser_role()
    os.environ[SLOTS_VARIABLE] = str(new_file())
    if settings.metrics:
        _share_metrics()
    server.reloads = Reload(server)
    _at_end_of_master(_end_of_reloads, server)
    if sys.flags.optimize > 1:
        server.log.warning("Python's -OO has removed the docstrings: /api/docs comes without its texts")
    if not (settings.api_tokens or settings.takes_jwts):
        server.log.info("Neither API_TOKENS nor a JWT setting is set: the API is open to everybody who can reach it")


def on_reload(server: Any) -> None:
    """The new version has passed its trial; what the master does from now on is as it says."""
    _tell_the_workers(server)
    # An older version's has no such attribute.
    server.reloads = Reload(server, getattr(server.reloads, "tried", None))


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a byte to say that it is ready, which the master can read."""
    worker.ready = mmap.mmap(-1, 1)


def post_fork(server: Any, worker: Any) -> None:
    """End at once when told to, until the worker listens to signals itself: the master's handlers would keep silent."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def post_worker_init(worker: Any) -> None:
    """When the last of the first workers is ready, say where."""
    worker.ready[0] = 1
    if worker.age == worker.cfg.workers:
        print(_ready_line(worker.sockets[0].getsockname()), flush=True)


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a worker has counted, without the room that it had for more."""
    for path in Path(settings.metrics_folder or os.devnull).glob(f"*_{worker.pid}.*.db"):
        with contextlib.suppress(OSError, struct.error), path.open("r+b") as file:
            file.truncate(*struct.unpack("i", file.read(4)))


def _ready_line(address: str | tuple[Any, ...]) -> str:
    if not isinstance(address, tuple):
        return f"taskapi is ready: unix:{address}"
    host, port = address[:2]
    if host in ("127.0.0.1", "0.0.0.0", "::", "::1"):
        host = "localhost"
    url = f"http://{netloc(host, port)}{settings.script_name}"
    line = f"taskapi is ready: {url}/api/docs"
    if settings.in_production:
        return line
    token = "-H 'Authorization: Bearer YOUR_TOKEN' " if settings.api_tokens or settings.takes_jwts else ""
    return (
        f"{line}  ·  try: curl -X POST {url}/api/v1/tasks {token}"
        """-H 'Content-Type: application/json' -d '{"title": "Buy milk"}'"""
    )


def _tell_the_workers(server: Any) -> None:
    """gunicorn's command line may ask for another number of workers than WEB_CONCURRENCY: their share depends on it."""
    os.environ["WEB_CONCURRENCY"] = str(server.cfg.workers)
    try:
        Settings.from_environment()
    except ConfigurationError as error:
        sys.exit(f"taskapi: {error}")


def _check_addresses(server: Any) -> None:
    """gunicorn would try for five seconds, after all that the start does before."""
    if settings.has_inherited_sockets:
        return
    for address in server.cfg.address:
        if not isinstance(address, tuple):
            continue
        host, port = address
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            sys.exit(f"taskapi: {_refusal(host, port, error)}")


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use. End what listens there, or take another: PORT={port + 1} make run"
    if error.errno == errno.EACCES:
        return f"Port {port} is not open to this user. Take one from 1024 on: PORT=8000 make run"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"{host} is not an address of this machine. HOST=127.0.0.1 is for this machine alone, 0.0.0.0 for all."
    return f"The service cannot listen at {host}, port {port}: {error.strerror or error}"


def pre_request(worker: Any, request: Any) -> None:
    """Mark a request with several keys or change sets: WSGI joins them with a comma, and one may hold a comma, too.

    Clients' header names are in capitals here, so that none of them can be such a mark.
    """
    names = [name for name, _ in request.headers]
    for name in ("IDEMPOTENCY-KEY", "CHANGE-SET"):
        if names.count(name) > 1:
            request.headers.append((f"taskapi.several.{name}", ""))


def _start_embedded_database() -> None:
    from taskapi.embedded import EmbeddedError, EmbeddedPostgres

    database = EmbeddedPostgres(settings.data_dir)
    print(f"DATABASE_URL is not set: starting the embedded PostgreSQL in {settings.data_dir}/", flush=True)
    _at_end_of_master(database.stop)
    try:
        # Half started, it could not be stopped.
        with held_back():
            os.environ["DATABASE_URL"] = database.start()
    except EmbeddedError as error:
        sys.exit(f"taskapi: {error}")


def _serve_embedded_database_as_a_lesser_role() -> None:
    """As in production: row-level security does not hold for the role that owns the tables."""
    from taskapi.database.database_url import url_as
    from taskapi.embedded import LESSER_ROLE

    # Every client of its socket is trusted: nobody needs the password that it prints.
    if not _runs("taskapi.role", LESSER_ROLE, output=subprocess.DEVNULL):
        sys.exit(1)
    os.environ["DATABASE_URL"] = url_as(Settings.from_environment(), LESSER_ROLE)


def _runs(module: str, *arguments: str, output: int | None = None) -> bool:
    """Run one of our programs; return whether it succeeded."""
    # In a process of its own: the master stays small, and free of libraries that must not be there before a fork.
    # In a group of its own: a ctrl-C is the master's to hear.
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=output, process_group=0) as process:
        try:
            return process.wait() == 0
        except BaseException:
            process.terminate()
            raise


def _end_of_reloads(server: Any) -> None:
    server.reloads.end()


def _share_metrics() -> None:
    """Make the folder in which the workers share the metrics."""
    global settings  # noqa: PLW0603  # For child_exit(): it was not there when the settings were read.
    try:
        folder = tempfile.mkdtemp(prefix="taskapi-")
    except OSError as error:
        sys.exit(f"taskapi: METRICS needs a folder for temporary files, which TMPDIR may name: {error}")
    os.environ[METRICS_FOLDER_VARIABLE] = folder
    settings = replace(settings, metrics_folder=folder)
    # What cleans the folder for temporary files leaves a locked one alone (tmpfiles.d(5)).
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
    _at_end_of_master(shutil.rmtree, folder, True)


def _at_end_of_master(function: Callable[..., object], *arguments: object) -> None:
    master = os.getpid()
    atexit.register(lambda: os.getpid() == master and function(*arguments))
