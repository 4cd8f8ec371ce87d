"""Where the benchmarks run: a PostgreSQL with tasks in it, servers in front of it, and what both cost."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2

from taskapi.callers import OWNER
from taskapi.database.connection import PLANNING
from taskapi.database.queries import load
from taskapi.embedded import EmbeddedPostgres
from taskapi.places import ROOT
from tests.support.service import free_port

SETTINGS = {"max_connections": "200", "shared_buffers": "1GB", "max_wal_size": "8GB"}
"""Postgres' own defaults, fsync included, but for the size that a server with some memory would have."""

TICKS = os.sysconf("SC_CLK_TCK")

FILL = """
    SET session_replication_role = replica;  -- the triggers would look at each row
    INSERT INTO tasks (id, title, description, is_completed, created_at, updated_at, completed_at, version)
    SELECT md5(n::text)::uuid, 'Task number ' || n, 'What there is to do, in a sentence of usual length.', n %% 3 = 0,
           moment, moment, CASE WHEN n %% 3 = 0 THEN moment END, %(each)s
    FROM (SELECT n, now() - (%(tasks)s - n) * interval '10 seconds' AS moment FROM generate_series(1, %(tasks)s) AS n);
    INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
    SELECT id, CASE v WHEN 1 THEN 'CREATED' ELSE 'UPDATED' END, 'title: ''' || title || '''',
           updated_at - (%(each)s - v) * interval '1 second', v, to_jsonb(answer(tasks))
    FROM tasks, generate_series(1, %(each)s) AS v ORDER BY 4;
    RESET session_replication_role;
"""

LEAN_SCHEMA = Path(__file__).with_name("peers") / "fastapi_lean.sql"

LEAN_FILL = """
    INSERT INTO tasks (id, title, description, is_completed, created_at, updated_at, completed_at)
    SELECT md5(n::text)::uuid, 'Task number ' || n, 'What there is to do, in a sentence of usual length.', n %% 3 = 0,
           moment, moment, CASE WHEN n %% 3 = 0 THEN moment END
    FROM (SELECT n, now() - (%(tasks)s - n) * interval '10 seconds' AS moment FROM generate_series(1, %(tasks)s) AS n);
    INSERT INTO task_history (task_id, action_type, description, timestamp)
    SELECT id, CASE v WHEN 1 THEN 'CREATED' ELSE 'UPDATED' END, 'title: ''' || title || '''',
           updated_at - (%(each)s - v) * interval '1 second'
    FROM tasks, generate_series(1, %(each)s) AS v ORDER BY 4;
"""
"""The same rows as FILL's, without what a lean schema does not have."""


class Postgres:
    """A server of the benchmark's own, in a temporary folder. Use it as a context manager."""

    def __enter__(self) -> "Postgres":
        self._folder = tempfile.TemporaryDirectory(prefix="taskapi-bench-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self.embedded = EmbeddedPostgres(folder / "pg")
        self.embedded.start(SETTINGS)
        return self

    def __exit__(self, *_: object) -> None:
        self.embedded.stop()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return int((self.embedded.data / "postmaster.pid").read_text().split()[0])

    def program(self, name: str) -> Path:
        """One of the programs that come with the server: psql, pgbench."""
        return Path(f"/proc/{self.pid}/exe").resolve().with_name(name)

    def url(self, name: str) -> str:
        return self.embedded.url.replace("@/taskapi?", f"@/{name}?")

    def database(self, name: str, *, tasks: int, entries: int) -> str:
        """Make a database with so many tasks and history entries (a multiple of the tasks); return its URL."""
        url = self.migrated(name)
        self.run(FILL, name, tasks=tasks, each=entries // tasks)
        self.run(PLANNING + load()["fold_totals"].text, name, owner=OWNER)
        self.run("VACUUM ANALYZE", name)
        return url

    def lean_database(self, name: str, *, tasks: int, entries: int) -> str:
        """The same with the lean peer's schema."""
        self.run("CREATE DATABASE " + name)
        self.run(LEAN_SCHEMA.read_text(), name)
        self.run(LEAN_FILL, name, tasks=tasks, each=entries // tasks)
        self.run("VACUUM ANALYZE", name)
        return self.url(name)

    def migrated(self, name: str, code: Path = ROOT) -> str:
        """Make a database with the schema of the code in a folder, and no tasks; return its URL."""
        self.run("CREATE DATABASE " + name)
        url = self.url(name)
        subprocess.run(
            [sys.executable, "-m", "taskapi.migrations"],
            cwd=code,
            env={"PATH": os.environ["PATH"], "ENV_FILE": "", "DATABASE_URL": url},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return url

    def ids(self, database: str, folder: Path) -> Path:
        """A file with the ids of all tasks, for wrk."""
        path = folder / database
        path.write_text("\n".join(str(row[0]) for row in self.run("SELECT id FROM tasks", database)))
        return path

    def run(self, text: str, database: str = "taskapi", **parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL in one of the databases; return its rows."""
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


class Server:
    """A running server: its address, and what its processes have cost."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.process = process

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    @property
    def memory(self) -> float:
        """MiB of memory, what processes share counted once (PSS)."""
        return sum(_pss(pid) for pid in tree(self.process.pid)) / 1024

    def memory_of_each(self, kind: str) -> dict[int, int]:
        """KiB of each process: VmRSS, what it has now, or VmHWM, its most until now (proc(5))."""
        return {pid: _status(pid, kind) for pid in tree(self.process.pid)}


@contextmanager
def serve(name: str, command: Sequence[str], port: int, environment: Mapping[str, str]) -> Iterator[Server]:
    """While inside, the server runs. `command` listens on `port`, and is ready when its /api/v1/health answers 200."""
    log = tempfile.TemporaryFile()  # noqa: SIM115  (closed below)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "ENV_FILE": "",
            "PYTHONPATH": str(ROOT),
            "WEB_CONCURRENCY": "2",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{port}/api/v1/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise RuntimeError(f"{name} does not answer:\n{log.read().decode(errors='replace')}")
            time.sleep(0.1)
        time.sleep(1)  # until every worker is there
        yield Server(name, port, process)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


@contextmanager
def serve_taskapi(url: str, *options: str, name: str = "taskapi", **settings: str) -> Iterator[Server]:
    """While inside, taskapi runs as `make run` starts it, with two workers and further `options` for gunicorn.

    It logs as in production, but to nobody: its peers keep no access log either.
    """
    port = free_port()
    environment = {"PORT": str(port), "DATABASE_URL": url, "APP_ENV": "production", "LOG_LEVEL": "WARNING", **settings}
    with serve(name, [sys.executable, "-m", "gunicorn", *options, "wsgi:app"], port, environment) as server:
        yield server


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time of a process and all below it, also of those that have ended and been waited for."""
    total = 0
    for each in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
