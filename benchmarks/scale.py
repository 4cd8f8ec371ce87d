"""What one machine carries: a mixed load by workers and connections, the size on the disk, the log of each write."""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import Client
from benchmarks.complete_history import FILL
from benchmarks.lab import Postgres, Server, cpu_seconds, serve_taskapi
from benchmarks.report import Report
from benchmarks.wrk import load
from taskapi.callers import OWNER
from taskapi.database.connection import PLANNING
from taskapi.database.queries import load as load_statements
from taskapi.places import ROOT

WORKERS = (1, 2, 4)
CONNECTIONS = (5, 20)
CLIENTS = 100
TASKS = 10_000
"""Of the database that is asked, each with three entries. The list is asked for by pages."""

MANY = 333_333
"""Tasks of the database whose size is measured: three entries each, together a million."""
TABLES = ("tasks", "task_history")
SIZES = """
SELECT pg_table_size(%(table)s::regclass), pg_indexes_size(%(table)s::regclass)
"""
WRITES = 300
"""Of each kind whose log is measured."""


def run(report: Report, postgres: Postgres, folder: Path, *, rounds: int, seconds: float, quick: bool) -> None:
    """Measure all of it."""
    workers, connections = ((1, 2), (20,)) if quick else (WORKERS, CONNECTIONS)
    _rates(report, postgres, folder, workers, connections, rounds=rounds, seconds=seconds)
    name = "sizes"
    _fill(postgres, name, MANY // 100 if quick else MANY)
    _sizes(report, postgres, name)
    _programs(report, postgres, name, folder)
    _logs(report, postgres, name, writes=WRITES // 10 if quick else WRITES)


@dataclass(frozen=True)
class Served:
    """What a round of a mixed load was: requests a second, milliseconds, and processor time for each request."""

    rate: float
    p50: float
    p99: float
    service: float
    postgres: float


def _rates(
    report: Report,
    postgres: Postgres,
    folder: Path,
    workers: Sequence[int],
    connections: Sequence[int],
    *,
    rounds: int,
    seconds: float,
) -> None:
    """Ask each setting in turn."""
    _fill(postgres, "mixed", TASKS)
    ids = postgres.ids("mixed", folder)
    figures: dict[tuple[int, int], list[Served]] = {}
    with ExitStack() as stack:
        servers = {
            (count, cap): stack.enter_context(
                serve_taskapi(postgres.url("mixed"), WEB_CONCURRENCY=str(count), DB_CONNECTIONS=str(cap))
            )
            for count in workers
            for cap in connections
        }
        for turn in range(rounds + 1):  # the first one warms up
            for key, server in servers.items():
                served = _served(postgres, server, ids, seconds)
                if turn:
                    figures.setdefault(key, []).append(served)
    report.table(
        f"Mixed load, {CLIENTS} clients, four reads to a write, on {TASKS:,} tasks and {3 * TASKS:,} entries",
        [
            *("`WEB_CONCURRENCY`", "`DB_CONNECTIONS`", "requests a second", "median, ms", "99 of 100 within, ms"),
            *("µs of the service's processors a request", "of Postgres'"),
        ],
        [
            [
                str(count),
                str(cap),
                *(
                    f"{statistics.median(getattr(one, figure) for one in of_one):,.0f}"
                    for figure in ("rate", "p50", "p99", "service", "postgres")
                ),
            ]
            for (count, cap), of_one in figures.items()
        ],
    )


def _served(postgres: Postgres, server: Server, ids: Path, seconds: float) -> Served:
    before = server.cpu_seconds, cpu_seconds(postgres.pid)
    done = load(server.url, "mixed", ids, connections=CLIENTS, seconds=seconds)
    if done.errors:
        raise RuntimeError(f"mixed load: {done.errors} errors")
    service, database = server.cpu_seconds - before[0], cpu_seconds(postgres.pid) - before[1]
    return Served(done.rate, done.p50, done.p99, service / done.requests * 1e6, database / done.requests * 1e6)


def _fill(postgres: Postgres, name: str, tasks: int) -> None:
    """Tasks with three entries each, by an agent and in runs, counted and analyzed."""
    postgres.migrated(name)
    postgres.run(FILL, name, tasks=tasks)
    postgres.run(PLANNING + load_statements()["fold_totals"].text, name, owner=OWNER)
    postgres.run("VACUUM ANALYZE", name)
    postgres.run("CHECKPOINT")


def _sizes(report: Report, postgres: Postgres, name: str) -> None:
    """The tables and their indexes, and what a row of them takes."""
    lines = []
    for table in TABLES:
        ((rows,),) = postgres.run(f"SELECT count(*) FROM {table}", name)
        ((own, indexes),) = postgres.run(SIZES, name, table=table)
        lines.append([table, f"{rows:,}", _mib(own), _mib(indexes), f"{(own + indexes) / rows:,.0f}"])
    ((whole,),) = postgres.run("SELECT pg_database_size(current_database())", name)
    lines.append(["the whole database", "", "", _mib(whole), ""])
    report.table("Size on the disk", ["table", "rows", "rows, MiB", "indexes, MiB", "bytes a row, with indexes"], lines)


def _programs(report: Report, postgres: Postgres, name: str, folder: Path) -> None:
    """How long it takes to go through all of it."""
    dump = folder / "dump"
    programs: dict[str, Callable[[], object]] = {
        "`VACUUM (FREEZE)`": lambda: postgres.run("VACUUM (FREEZE)", name),
        "`REINDEX TABLE task_history`": lambda: postgres.run("REINDEX TABLE task_history", name),
        "`pg_dump --format=custom`": lambda: _run(
            str(postgres.program("pg_dump")), "--format=custom", f"--file={dump}", postgres.url(name)
        ),
        "`python -m taskapi.reconcile`": lambda: _run(
            sys.executable, "-m", "taskapi.reconcile", url=postgres.url(name)
        ),
    }
    ((tasks, entries),) = postgres.run("SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM task_history)", name)
    lines = []
    for program, step in programs.items():
        started = time.perf_counter()
        step()
        lines.append([program, f"{time.perf_counter() - started:.1f}"])
    lines.append(["(the dump has, MiB)", _mib(dump.stat().st_size)])
    report.table(f"Seconds for all of {tasks:,} tasks and {entries:,} entries", ["what", "seconds"], lines)


def _run(*command: str, url: str = "") -> None:
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": "", "DATABASE_URL": url}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")


def _logs(report: Report, postgres: Postgres, name: str, *, writes: int) -> None:
    """Bytes of the write-ahead log that a write makes: without and with the images of pages, which come first after a
    checkpoint. Postgres must not crash meanwhile, and is removed afterwards."""
    ids = [str(task_id) for (task_id,) in postgres.run("SELECT id FROM tasks ORDER BY id", name)]
    random.Random(1).shuffle(ids)
    tasks = iter(ids)
    kinds: dict[str, Callable[[Client, int], object]] = {
        "create": lambda client, number: client.request(
            "POST", "/api/v1/tasks", {"title": f"Task {number}", "description": "As usual."}
        ),
        "update": lambda client, number: client.request(
            "PUT", f"/api/v1/tasks/{next(tasks)}", {"title": f"Task {number}"}
        ),
        "delete": lambda client, _: client.request("DELETE", f"/api/v1/tasks/{next(tasks)}"),
    }
    bytes_of: dict[str, list[float]] = {}
    with serve_taskapi(postgres.url(name)) as server, Client(server.url) as client:
        for pages in ("off", "on"):
            postgres.run(f"ALTER SYSTEM SET full_page_writes = {pages}")
            postgres.run("SELECT pg_reload_conf()")
            for kind, write in kinds.items():
                write(client, 0)
                postgres.run("CHECKPOINT")
                before = postgres.run("SELECT pg_current_wal_insert_lsn()")[0][0]
                for number in range(writes):
                    write(client, number)
                ((size,),) = postgres.run("SELECT pg_current_wal_insert_lsn() - %(before)s::pg_lsn", before=before)
                bytes_of.setdefault(kind, []).append(float(size) / writes)
    report.table(
        "Write-ahead log, bytes a write",
        ["write", "at least", "right after a checkpoint"],
        [[kind, *(f"{size:,.0f}" for size in sizes)] for kind, sizes in bytes_of.items()],
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}" if size >= 10 * 2**20 else f"{size / 2**20:.1f}"
