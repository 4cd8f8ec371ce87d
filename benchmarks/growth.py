"""What a thousand times as many tasks cost: each operation on a small database and on a large one, in turn."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.lab import Postgres, serve_taskapi
from benchmarks.report import Report
from benchmarks.wrk import load
from taskapi.database.database import Database
from taskapi.mcp.arguments import Cursor
from taskapi.mcp.tools import TOOLS
from taskapi.repository import Repository
from taskapi.settings import Settings

SMALL = (1_000, 1_000)
LARGE = (1_000_000, 3_000_000)
"""Tasks and history entries."""

BATCHES = 8
BATCH = 50
BULK = 100
"""Tasks of one write on many, and of one page of the list."""
BULK_BATCH = 5
PAGES = 7
"""Times that a far page of the history is asked for."""

COUNTED = ("history, first page", "history by action", "statistics")
LAST, MIDDLE = "history, last page", "history, middle page"

FEW, MANY = 100, 50_000
"""Tasks, with three entries each, while requests are counted."""
RATES = {"history, first page": "first_page", "statistics": "stats"}
"""Operations of operations.lua."""
CLIENTS = 16

TASKS = """
    SELECT id::text, is_completed, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS created_at
    FROM tasks
    ORDER BY random()
    LIMIT 900
"""

Step = Callable[[], float]
"""Does an operation once; returns the milliseconds that it took."""

Figures = dict[str, dict[str, list[float]]]
"""Of each operation, and on each database, the milliseconds of each time."""


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

    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        steps: dict[str, list[tuple[str, Step, int]]] = {}
        for name, (tasks, entries) in sizes.items():
            url = postgres.database(name, tasks=tasks, entries=entries)
            rows = [
                dict(zip(("id", "is_completed", "created_at"), row, strict=True)) for row in postgres.run(TASKS, name)
            ]
            clients[name] = stack.enter_context(Client(stack.enter_context(serve_taskapi(url)).url))
            database = Database(Settings(database_url=url))
            stack.callback(database.drain)
            steps[name] = [
                *((operation, step, BATCH) for operation, step in _requests(clients[name], rows).items()),
                *((operation, step, BULK_BATCH) for operation, step in _tools(Repository(database), rows).items()),
            ]
        postgres.run("CHECKPOINT")
        for batch in range(batches + 1):  # the first one warms up
            for name, of_one in steps.items():
                for operation, step, repeats in of_one:
                    for _ in range(repeats):
                        milliseconds = step()
                        if batch:
                            note(operation, name, milliseconds)
        for _ in range(PAGES):
            for name, client in clients.items():
                pages = client.request("GET", "/api/v1/history")["data"]["pagination"]["total_pages"]
                for operation, page in ((LAST, pages), (MIDDLE, pages // 2)):
                    client.request("GET", f"/api/v1/history?page={page}")
                    note(operation, name, client.seconds * 1000)
    return figures


def _requests(client: Client, tasks: Sequence[dict[str, Any]]) -> dict[str, Step]:
    """What the REST API is asked for. A third of the tasks stay, the others are deleted."""
    ids = [task["id"] for task in tasks]
    third = len(ids) // 3
    kept, doomed = itertools.cycle(ids[:third]), iter(ids[third:])
    completing = itertools.cycle(itertools.product(("complete", "incomplete"), ids[:third]))
    numbers = itertools.count()

    def ask(method: str, path: str, body: object = None) -> float:
        client.request(method, f"/api/v1/{path}", body)
        return client.seconds * 1000

    def complete() -> float:
        action, task_id = next(completing)
        return ask("PATCH", f"tasks/{task_id}/{action}")

    return {
        "create": lambda: ask("POST", "tasks", {"title": "Task", "description": "As usual."}),
        "get": lambda: ask("GET", f"tasks/{next(kept)}"),
        "update": lambda: ask("PUT", f"tasks/{next(kept)}", {"title": f"Task {next(numbers)}"}),
        "complete": complete,
        "delete": lambda: ask("DELETE", f"tasks/{next(doomed)}"),
        "history of a task": lambda: ask("GET", f"history?task_id={next(kept)}"),
        "history, first page": lambda: ask("GET", "history"),
        "history by action": lambda: ask("GET", "history?action_type=UPDATED"),
        "statistics": lambda: ask("GET", "stats/weekly"),
    }


def _tools(repository: Repository, tasks: Sequence[dict[str, Any]]) -> dict[str, Step]:
    """What agents call, without the protocol: writes on many tasks, and pages of the list."""
    chunks = [[task["id"] for task in tasks[start : start + BULK]] for start in (0, BULK, 2 * BULK)]
    completing = itertools.cycle(itertools.product(("complete_tasks", "reopen_tasks"), chunks))
    places = itertools.cycle(map(Cursor.after, tasks))
    ids = itertools.cycle(task["id"] for task in tasks[:BULK])
    created: list[list[str]] = []

    def call(name: str, **arguments: object) -> tuple[float, dict[str, Any]]:
        tool = TOOLS[name]
        started = time.perf_counter()
        answer = tool.run(repository, **tool.arguments.load(arguments))
        return (time.perf_counter() - started) * 1000, answer

    def create() -> float:
        milliseconds, answer = call("create_tasks", tasks=[{"title": "Task", "description": "As usual."}] * BULK)
        created.append([task["id"] for task in answer["tasks"]])
        return milliseconds

    def complete() -> float:
        name, task_ids = next(completing)
        return call(name, task_ids=task_ids)[0]

    return {
        f"create {BULK}": create,
        f"complete {BULK}": complete,
        f"delete {BULK}": lambda: call("delete_tasks", task_ids=created.pop())[0],
        "list page": lambda: call("list_tasks", state="all", limit=BULK)[0],
        "list page of completed ones": lambda: call("list_tasks", state="completed", limit=BULK)[0],
        "list page from anywhere": lambda: call("list_tasks", state="all", limit=BULK, cursor=next(places))[0],
        "task with its history": lambda: call("get_task", task_id=next(ids))[0],
    }


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
    for name, operations, goal in (
        ("what is counted", COUNTED, 1.3),
        ("the last page", (LAST,), 2.0),
        ("every other operation", others, 1.3),
    ):
        found = ", ".join(f"{operation} {ratios[operation]:.2f}" for operation in operations)
        report.goal(
            f"milliseconds with {sizes}, against {SMALL[0]:,} of each: {name}",
            f"≤ {goal}",
            found,
            reached=max(ratios[operation] for operation in operations) <= goal,
        )
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
