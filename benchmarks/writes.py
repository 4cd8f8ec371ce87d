"""What a write costs Postgres: the processor time of one backend, with the schema of today and with that of before."""

import itertools
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.lab import FILL, Postgres
from benchmarks.report import Report
from taskapi.database.connection import connect
from taskapi.database.queries import Statement, load
from taskapi.places import ROOT
from taskapi.repository import Repository
from taskapi.settings import Settings

BEFORE = "31be1fb"
"""The commit before keys began with the owner, whose schema and statements today's are compared with."""

OPERATIONS = ("create", "update")
TASKS = 10_000
ROUNDS = 30
BATCH = 500
DAY = 24 * 3600

Request = tuple[str, dict[str, Any]]
"""The name of a statement, and its parameters."""


def run(report: Report, postgres: Postgres, folder: Path, *, quick: bool) -> None:
    """Compare the backends in batches that alternate between them."""
    tasks, rounds = (1_000, 2) if quick else (TASKS, ROUNDS)
    ids = [
        str(row[0]) for row in postgres.run("SELECT md5(n::text)::uuid FROM generate_series(1, %(n)s) AS n", n=tasks)
    ]
    with ExitStack() as stack:
        backends = {
            "today": Backend(postgres.database("today", tasks=tasks, entries=3 * tasks), load(), today),
            "never analyzed": _never_analyzed(postgres, tasks),
        }
        if code := _code_of(BEFORE, folder):
            postgres.migrated("before", code)
            postgres.run(FILL, "before", tasks=tasks, each=3)
            postgres.run("VACUUM ANALYZE", "before")
            backends["before"] = Backend(postgres.url("before"), load(code / "sql"), before)
        for backend in backends.values():
            stack.enter_context(closing(backend))
        figures = _measure(backends, ids, rounds)
    _report(report, figures)


class Backend:
    """A session as the service has them, and its process at the server."""

    def __init__(
        self, url: str, statements: Mapping[str, Statement], request: Callable[[str, str, int], Request]
    ) -> None:
        self._statements = statements
        self._request = request
        self._connection = connect(Settings(database_url=url), deadline=time.monotonic() + DAY)
        self._cursor = self._connection.cursor()
        # To wait for the disk takes no processor time, and most of the clock's.
        self._cursor.execute("SET synchronous_commit = off")
        self._pid = self._connection.info.backend_pid
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
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0])


class Sent:
    """Stands in for the repository's database: keeps what it is asked to run."""

    request: Request

    def run(self, name: str, parameters: dict[str, Any], *, repeatable: bool) -> tuple[bytes, bytes]:
        self.request = (name, parameters)
        return b"written", b"{}"


def today(operation: str, task_id: str, number: int) -> Request:
    """A write as the repository sends it."""
    sent = Sent()
    repository = Repository(sent)
    if operation == "create":
        repository.create_task(title=f"Task {number}", description="As usual.")
    else:
        repository.update_task(task_id=UUID(task_id), changes={"title": f"Task {number}"})
    return sent.request


def before(operation: str, task_id: str, number: int) -> Request:
    """The same write as it was sent at the commit BEFORE."""
    no_key = {"idempotency_key": None, "request_digest": None}
    if operation == "create":
        return "create_task", {"title": f"Task {number}", "description": "As usual.", **no_key}
    changes = {"title": f"Task {number}", "sets_description": False, "description": None}
    return "update_task", {"task_id": task_id, **changes, **no_key}


def _never_analyzed(postgres: Postgres, tasks: int) -> Backend:
    """A session that was opened, and made its plans, while the tables were empty; they were filled since."""
    url = postgres.migrated("never_analyzed")
    for table in ("tasks", "task_history"):
        postgres.run(f"ALTER TABLE {table} SET (autovacuum_enabled = off)", "never_analyzed")
    backend = Backend(url, load(), today)
    # The triggers' plans are made with the first task.
    backend.cost("create", itertools.repeat(""), itertools.count(), 1)
    ((task_id,),) = postgres.run("SELECT id FROM tasks", "never_analyzed")
    backend.cost("update", itertools.repeat(str(task_id)), itertools.count(1), 1)
    # Not TRUNCATE, after which all plans are made anew.
    postgres.run(
        "SET session_replication_role = replica; DELETE FROM tasks; DELETE FROM task_history", "never_analyzed"
    )
    postgres.run(FILL, "never_analyzed", tasks=tasks, each=3)
    return backend


def _code_of(commit: str, folder: Path) -> Path | None:
    """What the commit needs to migrate a database, and its statements; None where git does not have it."""
    code = folder / commit
    code.mkdir()
    archive = ["git", "archive", commit, "sql", "alembic", "alembic.ini", "taskapi"]
    try:
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    subprocess.run(["tar", "-x", "-C", str(code)], input=packed, check=True)
    return code


def _measure(backends: Mapping[str, Backend], ids: list[str], rounds: int) -> dict[tuple[str, str], float]:
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


def _report(report: Report, figures: dict[tuple[str, str], float]) -> None:
    names = list(dict.fromkeys(name for _, name in figures))
    report.table(
        "Processor time of one backend of Postgres, µs a write",
        ["operation", *names],
        [[operation, *(f"{figures[operation, name]:.0f}" for name in names)] for operation in OPERATIONS],
    )
    for one, other, goal, figure in (
        ("today", "before", 1.0, f"against the schema and the statements of {BEFORE}"),
        ("never analyzed", "today", 1.2, "on tables filled while connected and never analyzed, against analyzed ones"),
    ):
        if other not in names:
            report.skip(f"Postgres CPU per write, {figure}", f"≤ {goal}", f"git has no {BEFORE} here")
            continue
        ratios = {operation: round(figures[operation, one] / figures[operation, other], 2) for operation in OPERATIONS}
        report.goal(
            f"Postgres CPU per write, {figure}",
            f"≤ {goal}",
            ", ".join(f"{operation} {ratio:.2f}" for operation, ratio in ratios.items()),
            reached=max(ratios.values()) <= goal,
        )
