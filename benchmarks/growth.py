"""What a thousand times as many tasks cost: each operation on a small database and on a large one, in turn."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import orjson

from benchmarks.client import Client
from benchmarks.lab import Postgres, serve_taskapi
from benchmarks.report import Report
from benchmarks.wrk import load
from taskapi.database.database import Database
from taskapi.mcp.tools import RECENT
from taskapi.repository import Repository
from taskapi.settings import Settings

SMALL = (1_000, 1_000)
LARGE = (1_000_000, 3_000_000)
"""Tasks and history entries."""

BATCHES = 8
BATCH = 50
BULK = 20
"""Tasks of one write on many, and of one page of the list."""
BULK_BATCH = 10
PAGES = 7
"""Times that a far page of the history is asked for."""

COUNTED = ("history, first page", "statistics", "history by action")
LAST, MIDDLE = "history, last page", "history, middle page"

FEW, MANY = 100, 50_000
"""Tasks, with three entries each, while requests are counted."""
RATES = {"history, first page": "first_page", "statistics": "stats"}
"""Operations of operations.lua."""
CLIENTS = 16

TASKS = "SELECT is_completed, created_at, id::text FROM tasks ORDER BY is_completed, random() LIMIT 900"
"""The tasks that are asked for and changed: of a small database nearly all. Open ones come first."""

KEPT, COMPLETED, IN_BULK = slice(300), slice(300, 350), slice(350, 410)
DELETED = slice(410, None)
"""Which of them an operation takes: none changes what another one counts on."""

NEW = {"title": "Task", "description": "As usual."}

Step = Callable[[], float]
"""Does an operation once; returns the milliseconds that it took."""

Figures = dict[str, dict[str, list[float]]]
"""Of each operation, and on each database, the milliseconds of each time."""

Place = tuple[bool, datetime, UUID]
"""Where a task stands in the list: see Repository.list_tasks_page."""

T = TypeVar("T")


def run(report: Report, postgres: Postgres, folder: Path, *, rounds: int, seconds: float, quick: bool) -> None:
    """Compare single requests, then how many are served."""
    large = (10_000, 30_000) if quick else LARGE
    _report(report, _measure(postgres, {"small": SMALL, "large": large}, batches=2 if quick else BATCHES), large)
    _rates(report, postgres, folder, many=MANY // 10 if quick else MANY, rounds=2 * rounds, seconds=seconds)


def _measure(postgres: Postgres, sizes: dict[str, tuple[int, int]], *, batches: int) -> Figures:
    """Time every operation; batches alternate between the databases."""
    figures: Figures = {}

    def note(operation: str, name: str, milliseconds: float) -> None:
        figures.setdefault(operation, {}).setdefault(name, []).append(milliseconds)

    urls = {name: postgres.database(name, tasks=tasks, entries=entries) for name, (tasks, entries) in sizes.items()}
    # Also now: the services close connections that are idle for as long as this takes.
    postgres.run("CHECKPOINT")
    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        steps: dict[str, list[tuple[str, Step, int]]] = {}
        for name, url in urls.items():
            places = [(is_completed, at, UUID(task_id)) for is_completed, at, task_id in postgres.run(TASKS, name)]
            ids = [str(task_id) for _, _, task_id in places]
            client = stack.enter_context(Client(stack.enter_context(serve_taskapi(url)).url))
            database = Database(Settings(database_url=url))
            stack.callback(database.drain)
            clients[name] = client
            steps[name] = [
                *((operation, step, BATCH) for operation, step in _over_http(client, ids).items()),
                *((operation, step, BULK_BATCH) for operation, step in _in_process(Repository(database), places)),
            ]
            for task_id in ids:
                client.request("GET", f"/api/v1/tasks/{task_id}")
                client.request("GET", f"/api/v1/history?task_id={task_id}")
        for batch in range(batches + 1):  # the first one warms up, too
            for name, of_one in steps.items():
                for operation, step, repeats in of_one:
                    for _ in range(repeats):
                        milliseconds = step()
                        if batch:
                            note(operation, name, milliseconds)
        for turn in range(PAGES + 1):
            for name, client in clients.items():
                pages = client.request("GET", "/api/v1/history")["data"]["pagination"]["total_pages"]
                for operation, page in ((LAST, pages), (MIDDLE, pages // 2)):
                    client.request("GET", f"/api/v1/history?page={page}")
                    if turn:
                        note(operation, name, client.seconds * 1000)
    return figures


def _over_http(client: Client, ids: Sequence[str]) -> dict[str, Step]:
    """What the REST API is asked for."""
    got, updated, looked_up = (itertools.cycle(ids[KEPT]) for _ in range(3))
    completed = itertools.cycle(itertools.product(("complete", "incomplete"), ids[COMPLETED]))
    deleted = iter(ids[DELETED])
    numbers = itertools.count()

    def ask(method: str, path: str, body: object = None) -> float:
        client.request(method, f"/api/v1/{path}", body)
        return client.seconds * 1000

    def complete() -> float:
        action, task_id = next(completed)
        return ask("PATCH", f"tasks/{task_id}/{action}")

    return {
        "create": lambda: ask("POST", "tasks", NEW),
        "get": lambda: ask("GET", f"tasks/{next(got)}"),
        "update": lambda: ask("PUT", f"tasks/{next(updated)}", {"title": f"Task {next(numbers)}"}),
        "complete": complete,
        "delete": lambda: ask("DELETE", f"tasks/{next(deleted)}"),
        "history of a task": lambda: ask("GET", f"history?task_id={next(looked_up)}"),
        "history, first page": lambda: ask("GET", "history"),
        "statistics": lambda: ask("GET", "stats/weekly"),
        "history by action": lambda: ask("GET", "history?action_type=UPDATED"),
    }


def _in_process(repository: Repository, places: Sequence[Place]) -> Iterator[tuple[str, Step]]:
    """What agents ask for, without MCP: writes on many tasks, pages of the list, a task with its history."""
    ids = [task_id for _, _, task_id in places[IN_BULK]]
    chunks = [ids[start : start + BULK] for start in range(0, len(ids), BULK)]
    completed = itertools.cycle(itertools.product((True, False), chunks))
    read = itertools.cycle(places[KEPT])
    created: list[list[UUID]] = []

    def create() -> float:
        milliseconds, written = _timed(lambda: repository.create_tasks(tasks=[NEW] * BULK))
        created.append([UUID(task["id"]) for task in orjson.loads(written.tasks)])
        return milliseconds

    def complete() -> float:
        is_completed, task_ids = next(completed)
        return _timed(lambda: repository.set_tasks_completed(task_ids=task_ids, is_completed=is_completed))[0]

    def delete() -> float:
        task_ids = created.pop()
        return _timed(lambda: repository.delete_tasks(task_ids=task_ids))[0]

    def page(is_completed: bool | None, after: Place | None = None) -> float:
        page = partial(repository.list_tasks_page, is_completed=is_completed, text=None, after=after)
        return _timed(lambda: page(limit=BULK))[0]

    def task() -> float:
        task_id = next(read)[2]
        return _timed(lambda: repository.get_task_with_history(task_id=task_id, entries=RECENT))[0]

    yield f"create {BULK}", create
    yield f"complete {BULK}", complete
    yield f"delete {BULK}", delete
    yield "MCP's list", lambda: page(None)
    yield "MCP's list of completed tasks", lambda: page(True)
    yield "MCP's list, from anywhere on", lambda: page(None, next(read))
    yield "task with its history", task


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    """The milliseconds that a call takes, and what it returns."""
    started = time.perf_counter()
    result = call()
    return (time.perf_counter() - started) * 1000, result


def _report(report: Report, figures: Figures, large: tuple[int, int]) -> None:
    medians = {
        operation: {name: statistics.median(times) for name, times in of_one.items()}
        for operation, of_one in figures.items()
    }
    ratios = {operation: round(of_one["large"] / of_one["small"], 2) for operation, of_one in medians.items()}
    sizes = f"{large[0]:,} tasks and {large[1]:,} entries"
    report.table(
        f"Milliseconds for a request, with {SMALL[0]:,} of each and with {sizes}",
        ["operation", "small", "large", "ratio"],
        [
            [operation, f"{of_one['small']:.2f}", f"{of_one['large']:.2f}", f"{ratios[operation]:.2f}"]
            for operation, of_one in medians.items()
        ],
    )
    others = [operation for operation in ratios if operation not in (*COUNTED, LAST, MIDDLE)]
    figure = f"milliseconds with {sizes} ÷ {SMALL[0]:,} of each"
    for name, operations in (("what is counted", COUNTED), ("every other operation", others)):
        found = ", ".join(f"{operation} {ratios[operation]:.2f}" for operation in operations)
        reached = max(ratios[operation] for operation in operations) <= 1.3
        report.goal(f"{figure}: {name}", "≤ 1.3 each", found, reached=reached)
    report.goal(f"{figure}: {LAST}", "≤ 2", f"{ratios[LAST]:.2f}", reached=ratios[LAST] <= 2)
    middle = medians[MIDDLE]["large"]
    report.goal(f"{MIDDLE}, with {sizes}", "≤ 100 ms", f"{middle:.0f} ms", reached=middle <= 100)


def _rates(report: Report, postgres: Postgres, folder: Path, *, many: int, rounds: int, seconds: float) -> None:
    """Requests per second of what is counted, with few tasks and with many."""
    rates: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        servers = {}
        for tasks in (FEW, many):
            url = postgres.database(f"tasks_{tasks}", tasks=tasks, entries=3 * tasks)
            ids = postgres.ids(f"tasks_{tasks}", folder)
            servers[tasks] = stack.enter_context(serve_taskapi(url)), ids
        for name, operation in RATES.items():
            for _ in range(rounds):
                for tasks, (server, ids) in servers.items():
                    done = load(server.url, operation, ids, connections=CLIENTS, seconds=seconds)
                    rates.setdefault((name, tasks), []).append(done.rate)
    medians = {key: statistics.median(of_one) for key, of_one in rates.items()}
    ratios = {name: round(medians[name, many] / medians[name, FEW], 2) for name in RATES}
    report.table(
        f"Requests per second, {CLIENTS} clients, while so many tasks exist",
        ["operation", f"{FEW:,}", f"{many:,}", "ratio"],
        [
            [name, f"{medians[name, FEW]:,.0f}", f"{medians[name, many]:,.0f}", f"{ratio:.2f}"]
            for name, ratio in ratios.items()
        ],
    )
    report.goal(
        f"requests per second while {many:,} tasks exist, against {FEW:,}",
        "≥ 0.95",
        ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()),
        reached=min(ratios.values()) >= 0.95,
    )
