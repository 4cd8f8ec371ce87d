"""`make demo`: serves the API with sample tasks and the frontend, until ctrl-C."""

import contextlib
import errno
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psycopg2

from examples.react.demo.past import NotEmpty
from examples.react.demo.sample import fill
from taskapi.embedded import EmbeddedError, EmbeddedPostgres
from taskapi.errors import ConfigurationError
from taskapi.migrations import MigrationError, prepare_schema
from taskapi.places import DATA, ROOT
from taskapi.settings import Settings
from taskapi.signals import end_in_order, held_back

FRONTEND = Path(__file__).resolve().parents[1]

FRONTEND_PORT = 3000
"""The one that CORS_ORIGINS allows by default."""

OLDEST_NODE = (20, 19)

PATIENCE = 60.0
"""Seconds in which what was started has to answer, and what is told to end has to end."""


class Failed(Exception):
    """There is no demo, or not any more. The message says why."""


def main() -> None:
    """Check, build, fill and serve. Raises Failed, and errors of taskapi with a sentence of their own."""
    end_in_order()
    settings = _settings()
    npm = _find_npm()
    _check_ports(settings.port)
    _build(npm, settings.port)
    print(
        f"Starting a PostgreSQL in {settings.data_dir}/, made anew each time: your own data stays as it is", flush=True
    )
    shutil.rmtree(settings.data_dir, ignore_errors=True)
    database = EmbeddedPostgres(settings.data_dir)
    with contextlib.ExitStack() as ending:
        # Half started, it could not be stopped.
        with held_back():
            url = database.start()
            ending.callback(database.stop)
        prepare_schema(replace(settings, database_url=url))
        print("Writing six weeks of sample tasks", flush=True)
        try:
            fill(url)
        except psycopg2.Error as error:
            raise Failed(f"The sample tasks cannot be written; run this again: {error}") from None
        _serve(npm, settings.port, url)


def _settings() -> Settings:
    """The defaults, but for PORT, whatever the environment and .env say. What is started here gets them, too."""
    port = os.environ.get("PORT", str(Settings.port))
    for field in fields(Settings):
        os.environ.pop(field.name.upper(), None)
    os.environ.update(ENV_FILE="", PORT=port, DATA_DIR=str(DATA / "demo"), LOG_LEVEL="WARNING")
    return Settings.from_environment()


def _find_npm() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip() if node else ""
    version = re.match(r"v(\d+)\.(\d+)", said)
    if npm and version and (int(version[1]), int(version[2])) >= OLDEST_NODE:
        return npm
    raise Failed(
        f"The frontend needs Node.js {OLDEST_NODE[0]}.{OLDEST_NODE[1]} or later and its npm (found: {said or 'none'}):"
        " install it from https://nodejs.org. Without it, `make run` still serves the API."
    )


def _check_ports(port: int) -> None:
    if port == FRONTEND_PORT:
        raise Failed(f"Port {port} is the frontend's. Take another one for the API: PORT=8000 make demo")
    ports = {
        port: f"End what listens there, or take another: PORT={port + 1} make demo",
        FRONTEND_PORT: "The frontend has no other one: end what listens there.",
    }
    for each, way_out in ports.items():
        # A browser tries both addresses of localhost.
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                socket.create_server((host, each), family=family).close()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise Failed(f"Port {each} is in use. {way_out}") from None


def _build(npm: str, port: int) -> None:
    """Build the frontend for an API at this port. Its packages come first where they are missing or old."""
    lock, installed = FRONTEND / "package-lock.json", FRONTEND / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        print("Installing what the frontend needs", flush=True)
        _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    print("Building the frontend", flush=True)
    os.environ["VITE_API_URL"] = f"http://localhost:{port}"
    _run(npm, "run", "build")


def _run(*command: str) -> None:
    """Run a command of the frontend, and show what it says only if it fails."""
    with _started(*command, cwd=FRONTEND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said, _ = process.communicate()
    if process.returncode:
        raise Failed(f"{said.strip()}\n`npm {' '.join(command[1:])}` failed in {FRONTEND}.")


def _serve(npm: str, port: int, url: str) -> None:
    """Serve both until a signal comes. Raises Failed when one of them ends by itself."""
    os.environ["DATABASE_URL"] = url
    preview = (npm, "run", "preview", "--", f"--port={FRONTEND_PORT}", "--strictPort")
    with (
        _started(sys.executable, "-m", "gunicorn", "wsgi:app", cwd=ROOT, stdout=subprocess.DEVNULL) as api,
        _started(*preview, cwd=FRONTEND, stdout=subprocess.DEVNULL) as frontend,
    ):
        processes = {"API": api, "frontend": frontend}
        deadline = time.monotonic() + PATIENCE
        while not (_answers(port, "/api/v1/health/ready") and _answers(FRONTEND_PORT, "/")):
            _check(processes)
            if time.monotonic() > deadline:
                raise Failed(f"The API or the frontend has not answered for {PATIENCE:.0f} s.")
            time.sleep(0.1)
        print(f"Open http://localhost:{FRONTEND_PORT} (the API is at http://localhost:{port}/api/docs).", flush=True)
        print("Ctrl-C stops both.", flush=True)
        while True:
            _check(processes)
            time.sleep(0.2)


def _check(processes: dict[str, "subprocess.Popen[str]"]) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            raise Failed(f"The {name} has ended (exit code {process.returncode}), so all of the demo was stopped.")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _started(*command: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process, and those that it starts, until the end of the block."""
    with contextlib.ExitStack() as ending:
        with held_back():
            # In a group of its own: a ctrl-C is ours to hear.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, process_group=0, **options)
            ending.callback(_end, process)
        yield process


def _end(process: "subprocess.Popen[str]") -> None:
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    try:
        main()
    except (Failed, NotEmpty, ConfigurationError, EmbeddedError, MigrationError) as error:
        sys.exit(f"taskapi: {error}")
