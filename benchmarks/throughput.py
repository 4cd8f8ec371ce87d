"""Requests per second of taskapi and its alternatives: each operation, on the same data, in alternating rounds."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.lab import Postgres, Server, serve, serve_taskapi
from benchmarks.peers.commands import PEERS_PYTHON, command
from benchmarks.report import Report
from benchmarks.wrk import Load, load
from taskapi.places import ROOT
from tests.support.service import free_port

READS = ("get", "list", "history", "stats")
WRITES = ("create", "update", "complete")
LETTERS = {"taskapi": "taskapi", "fastapi_orm": "(a)", "fastapi_asyncpg": "(b)", "flask_orm": "(c)"}
GOALS = {"fastapi_orm": 3.0, "flask_orm": 2.0, "fastapi_asyncpg": 1.1}
FAR_GOALS = {"fastapi_asyncpg": 1.8, "fastapi_orm": 3.0}
CONNECTIONS = (1, 16, 100)
DELAY = 5
"""Milliseconds that each answer of the database takes longer in the second part."""

Loads = dict[tuple[str, int, str], list[Load]]


def run(report: Report, postgres: Postgres, folder: Path, *, rounds: int, seconds: float) -> None:
    """Compare all servers, then again with a database that is farther away."""
    near = _measure(postgres, folder, tuple(LETTERS), CONNECTIONS, rounds=rounds, seconds=seconds, far=False)
    _report(report, "Requests per second", near, GOALS)
    far = _measure(postgres, folder, ("taskapi", *FAR_GOALS), (20,), rounds=rounds, seconds=seconds, far=True)
    _report(report, f"Requests per second, {DELAY} ms to the database and back", far, FAR_GOALS)


def _measure(
    postgres: Postgres,
    folder: Path,
    names: Sequence[str],
    connections: Sequence[int],
    *,
    rounds: int,
    seconds: float,
    far: bool,
) -> Loads:
    loads: Loads = {}
    # Reads have tables of their own: with those of the writes, who writes faster would have more to read.
    for kind, operations, tasks in (("reads", READS, 100), ("writes", WRITES, 1000)):
        with ExitStack() as stack:
            servers = {}
            for name in names:
                database = f"{'far' if far else 'near'}_{kind}_{name}"
                url = postgres.database(database, tasks=tasks, entries=3 * tasks)
                ids = folder / database
                ids.write_text("\n".join(str(row[0]) for row in postgres.run("SELECT id FROM tasks", database)))
                if far:
                    url = stack.enter_context(_farther(postgres, database))
                servers[name] = (stack.enter_context(_served(name, url)), ids)
            for operation in operations:
                for count in connections:
                    for _ in range(rounds):
                        for name, (server, ids) in servers.items():
                            once = load(server.url, operation, ids, connections=count, seconds=seconds)
                            loads.setdefault((operation, count, name), []).append(once)
                print(f"  measured: {operation}", file=sys.stderr)
    return loads


@contextmanager
def _served(name: str, url: str) -> Iterator[Server]:
    if name == "taskapi":
        with serve_taskapi(url) as server:
            yield server
        return
    port = free_port()
    line = command(name, str(PEERS_PYTHON), port, 2, 20)
    with serve(name, line, port, {"DATABASE_URL": url, "DB_CONNECTIONS": "20"}) as server:
        yield server


@contextmanager
def _farther(postgres: Postgres, database: str) -> Iterator[str]:
    """The URL of the database, through a proxy that delays its answers."""
    port = free_port()
    socket = str(postgres.embedded.run / ".s.PGSQL.5432")
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.delay", socket, str(port), str(DELAY)], cwd=ROOT)
    try:
        time.sleep(1)
        yield f"postgresql://taskapi@/{database}?host=127.0.0.1&port={port}"
    finally:
        process.kill()
        process.wait()


def _report(report: Report, title: str, loads: Loads, goals: dict[str, float]) -> None:
    names = list(dict.fromkeys(name for _, _, name in loads))
    lines, worst = [], dict.fromkeys(goals, (float("inf"), ""))
    errors = 0
    for operation, count in dict.fromkeys((operation, count) for operation, count, _ in loads):
        rates = {name: statistics.median(one.rate for one in loads[operation, count, name]) for name in names}
        errors += sum(one.errors for name in names for one in loads[operation, count, name])
        ratios = {name: rates["taskapi"] / rates[name] for name in goals}
        for name, ratio in ratios.items():
            worst[name] = min(worst[name], (ratio, f"{operation}, {count} clients"))
        lines.append(
            [operation, str(count)]
            + [f"{rate:,.0f}" for rate in rates.values()]
            + [f"{ratio:.2f}" for ratio in ratios.values()]
        )
    head = ["operation", "clients", *(LETTERS[name] for name in names), *(f"/ {LETTERS[name]}" for name in goals)]
    report.table(title, head, lines)
    ratio_columns = range(2 + len(names), 2 + len(names) + len(goals))
    for (name, goal), column in zip(goals.items(), ratio_columns, strict=True):
        reached = sum(float(line[column]) >= goal for line in lines)
        middle = statistics.median(float(line[column]) for line in lines)
        report.goal(
            f"{title}, against {LETTERS[name]}, each operation",
            f"≥ {goal}",
            f"median {middle:.2f}, least {worst[name][0]:.2f} ({worst[name][1]}); {reached} of {len(lines)} reach it",
            reached=reached == len(lines),
        )
    report.goal(f"{title}: answers other than success, of all servers", "0", str(errors), reached=errors == 0)
