"""What a write costs Postgres: a backend's processor time against the schema before, and on tables never analyzed."""

import itertools
import random
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2

from benchmarks.lab import FILL, Postgres
from benchmarks.report import Report
from taskapi.database.connection import PLANNING
from taskapi.database.queries import Statement, load
from taskapi.places import ROOT
from taskapi.repository import Repository

BEFORE = "31be1fb"
"""The commit before keys began with the owner, whose schema and statements today's are compared with."""

OPERATIONS = ("create", "update")
TASKS, EACH = 100_000, 3
"""Tasks, and the entries that each of them has."""
ROUNDS = 30
BATCH = 100
EMPTY_RUNS = 10
"""Runs of each statement while the tables are empty."""

JIT_OFF = "SET jit = off;"
SESSIONS = {"before": JIT_OFF, "today": JIT_OFF + PLANNING.replace("SET LOCAL", "SET")}
"""What the service's sessions begin with."""

Request = tuple[str, dict[str, Any]]
"""The name of a statement, and its parameters."""

Costs = dict[tuple[str, str], float]
"""Microseconds of each operation on each backend."""


def run(report: Report, postgres: Postgres, folder: Path, *, quick: bool) -> None:
    """Compare the backends in batches that alternate between them."""
    tasks, rounds = (1_000, 2) if quick else (TASKS, ROUNDS)
    with ExitStack() as stack:
        backends = {
            "today": _today(postgres.database("today", tasks=tasks, entries=EACH * tasks)),
            "never analyzed": _never_analyzed(postgres, tasks),
        }
        if code := _code_of(BEFORE, folder):
            backends["before"] = _before(postgres, code, tasks)
        for backend in backends.values():
            stack.enter_context(closing(backend))
        postgres.run("CHECKPOINT")
        costs = _measure(backends, _ids(postgres, tasks), rounds)
    _report(report, costs)


class Backend:
    """A session, and its process at the server."""

    def __init__(
        self, url: str, session: str, statements: Mapping[str, Statement], request: Callable[[str, str, int], Request]
    ) -> None:
        self._statements = statements
        self._request = request
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._cursor.execute(session)
        self._usage = Path(f"/proc/{self._connection.info.backend_pid}/schedstat")
        self._prepared: set[str] = set()

    def close(self) -> None:
        self._connection.close()

    def cost(self, operation: str, ids: Iterator[str], numbers: Iterator[int], count: int) -> float:
        """Microseconds on a processor for each of so many writes."""
        requests = [self._request(operation, next(ids), next(numbers)) for _ in range(count)]
        self._prepare(requests[0][0])
        began = self._nanoseconds()
        for name, parameters in requests:
            self._cursor.execute(self._statements[name].execute, parameters)
        return (self._nanoseconds() - began) / count / 1000

    def _prepare(self, name: str) -> None:
        if name not in self._prepared:
            self._cursor.execute(self._statements[name].prepare)
            self._prepared.add(name)

    def _nanoseconds(self) -> int:
        """Its time on a processor until now (Documentation/scheduler/sched-stats.rst of Linux)."""
        return int(self._usage.read_text().split()[0])


class Sent:
    """Stands in for the repository's database: keeps what it is asked to run."""

    request: Request

    def run(
        self, name: str, parameters: dict[str, Any], *, repeatable: bool, once: bool = False, own_plan: bool = False
    ) -> tuple[bytes, bytes, int]:
        self.request = (name, parameters)
        return b"written", b"{}", 1


def request_today(operation: str, task_id: str, number: int) -> Request:
    """A write as the repository sends it."""
    sent = Sent()
    repository = Repository(sent)
    if operation == "create":
        repository.create_task(title=f"Task {number}", description="As usual.")
    else:
        repository.update_task(task_id=UUID(task_id), changes={"title": f"Task {number}"})
    return sent.request


def request_before(operation: str, task_id: str, number: int) -> Request:
    """The same write as it was sent at the commit BEFORE."""
    no_key = {"idempotency_key": None, "request_digest": None}
    if operation == "create":
        return "create_task", {"title": f"Task {number}", "description": "As usual.", **no_key}
    changes = {"title": f"Task {number}", "sets_description": False, "description": None}
    return "update_task", {"task_id": task_id, **changes, **no_key}


def _today(url: str) -> Backend:
    return Backend(url, SESSIONS["today"], load(), request_today)


def _before(postgres: Postgres, code: Path, tasks: int) -> Backend:
    """The code of the commit BEFORE, on a database that it has migrated itself."""
    url = postgres.migrated("before", code)
    postgres.run(FILL, "before", tasks=tasks, each=EACH)
    postgres.run("VACUUM ANALYZE", "before")
    return Backend(url, SESSIONS["before"], load(code / "sql"), request_before)


def _never_analyzed(postgres: Postgres, tasks: int) -> Backend:
    """A session that made all its plans while the tables were empty, the triggers' too; they were filled since."""
    name = "never_analyzed"
    url = postgres.migrated(name)
    for table in ("tasks", "task_history"):
        postgres.run(f"ALTER TABLE {table} SET (autovacuum_enabled = off)", name)
    backend = _today(url)
    # The triggers' plans are made with the first task.
    backend.cost("create", itertools.repeat(""), itertools.count(), EMPTY_RUNS)
    ids = (str(row[0]) for row in postgres.run("SELECT id FROM tasks", name))
    backend.cost("update", ids, itertools.count(EMPTY_RUNS), EMPTY_RUNS)
    # Not TRUNCATE, after which all plans are made anew.
    postgres.run("SET session_replication_role = replica; DELETE FROM tasks; DELETE FROM task_history", name)
    postgres.run(FILL, name, tasks=tasks, each=EACH)
    return backend


def _code_of(commit: str, folder: Path) -> Path | None:
    """What the commit needs to migrate a database, and its statements; None where git does not have it."""
    archive = ["git", "archive", commit, "sql", "alembic", "alembic.ini", "taskapi"]
    try:
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    code = folder / commit
    code.mkdir()
    subprocess.run(["tar", "-x", "-C", str(code)], input=packed, check=True)
    return code


def _ids(postgres: Postgres, tasks: int) -> list[str]:
    """The ids that FILL makes, in an order of no meaning: neighbours in a table would share its pages."""
    rows = postgres.run("SELECT md5(n::text)::uuid FROM generate_series(1, %(tasks)s) AS n", tasks=tasks)
    ids = [str(row[0]) for row in rows]
    random.Random(1).shuffle(ids)
    return ids


def _measure(backends: Mapping[str, Backend], ids: list[str], rounds: int) -> Costs:
    """The median of each backend and operation. All get the same requests."""
    costs: dict[tuple[str, str], list[float]] = {}
    requests = {name: (itertools.cycle(ids), itertools.count()) for name in backends}
    for number in range(rounds + 1):  # the first one warms up
        for operation in OPERATIONS:
            for name, backend in backends.items():
                cost = backend.cost(operation, *requests[name], BATCH)
                if number:
                    costs.setdefault((operation, name), []).append(cost)
    return {key: statistics.median(of_one) for key, of_one in costs.items()}


def _report(report: Report, costs: Costs) -> None:
    names = list(dict.fromkeys(name for _, name in costs))
    report.table(
        "Processor time of one backend of Postgres, µs a write",
        ["operation", *names],
        [[operation, *(f"{costs[operation, name]:.0f}" for name in names)] for operation in OPERATIONS],
    )
    figure = "Postgres CPU of a create, of an update"
    before, empty = (
        f"{figure} ÷ those of the schema before",
        f"{figure} on tables that were filled from empty without ANALYZE, on connections opened while they were empty"
        " ÷ the analyzed ones",
    )
    if "before" in names:
        _compare(report, before, costs, ("today", "before"), 1.0)
    else:
        report.skip(before, "≤ 1.00 each", "needs the git history")
    _compare(report, empty, costs, ("never analyzed", "today"), 1.2)


def _compare(report: Report, figure: str, costs: Costs, backends: tuple[str, str], goal: float) -> None:
    """Note how one backend's costs are to the other's."""
    one, other = backends
    ratios = {operation: round(costs[operation, one] / costs[operation, other], 2) for operation in OPERATIONS}
    measured = ", ".join(f"{operation} {ratio:.2f}" for operation, ratio in ratios.items())
    report.goal(figure, f"≤ {goal:.2f} each", measured, reached=max(ratios.values()) <= goal)
