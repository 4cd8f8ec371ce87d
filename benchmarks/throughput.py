"""Requests per second of taskapi and its alternatives: each operation, on the same data, in alternating rounds."""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import Postgres, Server, serve, serve_taskapi
from benchmarks.peers.commands import LEAN, PEERS_PYTHON, command
from benchmarks.report import Report
from benchmarks.wrk import Load, load
from taskapi.places import ROOT
from tests.support.service import free_port

READS = ("get", "list", "history", "stats")
WRITES = ("create", "update", "complete")
LETTERS = {
    "taskapi": "taskapi",
    "fastapi_orm": "(a)",
    "fastapi_asyncpg": "(b)",
    "flask_orm": "(c)",
    "fastapi_lean": "(d)",
}
CONNECTIONS = (1, 16, 100)
DELAY = 5
"""Milliseconds that each answer of the database takes longer in the second part."""
FAR_CONNECTIONS = (20,)


@dataclass(frozen=True)
class Goal:
    """How many times as many requests as a peer's taskapi is to serve, of which operations, for how many clients."""

    peer: str
    ratio: float
    operations: Sequence[str] = READS + WRITES
    clients: Sequence[int] = CONNECTIONS


GOALS = (
    Goal("fastapi_lean", 1.05, operations=("get", "history", "stats"), clients=(16, 100)),
    Goal("fastapi_lean", 1.8, operations=("list",), clients=(16, 100)),
    Goal("fastapi_lean", 0.9, operations=WRITES, clients=(16, 100)),
    Goal("fastapi_asyncpg", 1.1),
    Goal("fastapi_orm", 3.0, clients=(16,)),
    Goal("flask_orm", 2.0),
)
FAR_GOALS = (
    Goal("fastapi_asyncpg", 1.8, clients=FAR_CONNECTIONS),
    Goal("fastapi_orm", 3.0, clients=FAR_CONNECTIONS),
)

Loads = dict[tuple[str, int, str], list[Load]]


def run(report: Report, postgres: Postgres, folder: Path, *, rounds: int, seconds: float) -> None:
    """Compare all servers, then again with a database that is farther away."""
    near = _measure(postgres, folder, tuple(LETTERS), CONNECTIONS, rounds=rounds, seconds=seconds, far=False)
    _report(report, "Requests per second", near, GOALS)
    names = ("taskapi", "fastapi_orm", "fastapi_asyncpg", "fastapi_lean")
    far = _measure(postgres, folder, names, FAR_CONNECTIONS, rounds=rounds, seconds=seconds, far=True)
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
                make = postgres.lean_database if name == LEAN else postgres.database
                url = make(database, tasks=tasks, entries=3 * tasks)
                ids = postgres.ids(database, folder)
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


def _report(report: Report, title: str, loads: Loads, goals: Sequence[Goal]) -> None:
    peers = list(dict.fromkeys(name for _, _, name in loads if name != "taskapi"))
    lines, ratios = [], {}
    for operation, count in dict.fromkeys((operation, count) for operation, count, _ in loads):
        rates = {
            name: statistics.median(one.rate for one in loads[operation, count, name]) for name in ("taskapi", *peers)
        }
        for name in peers:
            # Not a number where a server answered nothing, as may be in a second on a busy machine.
            ratios[operation, count, name] = rates["taskapi"] / (rates[name] or math.nan)
        lines.append(
            [operation, str(count)]
            + [f"{rate:,.0f}" for rate in rates.values()]
            + [f"{ratios[operation, count, name]:.2f}" for name in peers]
        )
    letters = [LETTERS[name] for name in peers]
    report.table(title, ["operation", "clients", "taskapi", *letters, *(f"/ {letter}" for letter in letters)], lines)
    for goal in goals:
        _compare(report, title, goal, ratios)
    errors = sum(one.errors for of_one in loads.values() for one in of_one)
    report.goal(f"{title}: answers other than success, of all servers", "0", str(errors), reached=errors == 0)


def _compare(report: Report, title: str, goal: Goal, ratios: dict[tuple[str, int, str], float]) -> None:
    """Note the ratios that the goal is about: of each operation the least, and the median of all."""
    found = {
        operation: [round(ratios[operation, count, goal.peer], 2) for count in goal.clients]
        for operation in goal.operations
    }
    which = "each operation" if len(goal.operations) == len(READS + WRITES) else ", ".join(goal.operations)
    clients = ", ".join(map(str, goal.clients))
    least = ", ".join(f"{operation} {min(of_one):.2f}" for operation, of_one in found.items())
    of_all = [ratio for of_one in found.values() for ratio in of_one]
    report.goal(
        f"{title}, against {LETTERS[goal.peer]}, {clients} clients: {which}",
        f"≥ {goal.ratio}",
        f"{'least: ' if len(goal.clients) > 1 else ''}{least}; median {statistics.median(of_all):.2f}",
        reached=all(ratio >= goal.ratio for ratio in of_all),
    )
