"""What a thousand times as many tasks cost: each operation on a small database and on a large one, in turn."""

import statistics
from collections.abc import Callable, Iterator

from benchmarks.client import Client
from benchmarks.lab import Postgres, serve_taskapi
from benchmarks.report import Report

SMALL = (1_000, 1_000)
LARGE = (1_000_000, 3_000_000)
"""Tasks and history entries."""

BATCHES = 8
BATCH = 50

Step = Callable[[], tuple[str, str, object]]


def run(report: Report, postgres: Postgres, *, large: tuple[int, int] = LARGE) -> None:
    """Compare the medians of single requests; batches alternate between the two databases."""
    figures: dict[str, dict[str, list[float]]] = {}
    urls = {
        "small": postgres.database("small", tasks=SMALL[0], entries=SMALL[1]),
        "large": postgres.database("large", tasks=large[0], entries=large[1]),
    }
    postgres.run("CHECKPOINT")
    with (
        serve_taskapi(urls["small"]) as small,
        serve_taskapi(urls["large"]) as big,
        Client(small.url) as of_small,
        Client(big.url) as of_large,
    ):
        steps = {
            name: _steps(
                [str(row[0]) for row in postgres.run("SELECT id FROM tasks ORDER BY random() LIMIT 900", name)]
            )
            for name in urls
        }
        pages = {"small": SMALL[1] // 10, "large": large[1] // 10}
        clients = {"small": of_small, "large": of_large}
        for batch in range(BATCHES + 1):  # the first one warms up
            for name, client in clients.items():
                for operation, step in steps[name].items():
                    for _ in range(BATCH):
                        client.request(*step())
                        if batch:
                            figures.setdefault(operation, {}).setdefault(name, []).append(client.seconds * 1000)
        for operation, path in {
            "history, first page": "/api/v1/history",
            "history, last page": "/api/v1/history?page={page}",
            "statistics": "/api/v1/stats/weekly",
        }.items():
            for _ in range(7):
                for name, client in clients.items():
                    client.request("GET", path.format(page=pages[name]))
                    figures.setdefault(operation, {}).setdefault(name, []).append(client.seconds * 1000)
    _report(report, figures, large)


def _steps(ids: list[str]) -> dict[str, Step]:
    """What to ask next, for each operation. No two of them meet at one task."""
    third = len(ids) // 3
    completing = _around(ids[:third])
    doomed = iter(ids[third:])
    numbers = iter(range(10**9))
    done: set[str] = set()

    def complete() -> tuple[str, str, object]:
        task = next(completing)
        action = "incomplete" if task in done else "complete"
        done.symmetric_difference_update({task})
        return "PATCH", f"/api/v1/tasks/{task}/{action}", None

    kept = _around(ids[:third])
    return {
        "create": lambda: ("POST", "/api/v1/tasks", {"title": "Task", "description": "As usual."}),
        "get": lambda: ("GET", f"/api/v1/tasks/{next(kept)}", None),
        "update": lambda: ("PUT", f"/api/v1/tasks/{next(kept)}", {"title": f"Task {next(numbers)}"}),
        "complete": complete,
        "delete": lambda: ("DELETE", f"/api/v1/tasks/{next(doomed)}", None),
    }


def _around(values: list[str]) -> Iterator[str]:
    while True:
        yield from values


def _report(report: Report, figures: dict[str, dict[str, list[float]]], large: tuple[int, int]) -> None:
    lines, ratios = [], {}
    for operation, times in figures.items():
        small, big = statistics.median(times["small"]), statistics.median(times["large"])
        ratios[operation] = big / small
        lines.append([operation, f"{small:.2f}", f"{big:.2f}", f"{big / small:.2f}"])
    sizes = f"{large[0]:,} tasks and {large[1]:,} entries"
    report.table(
        f"Milliseconds for a request, with {SMALL[0]:,} of each and with {sizes}",
        ["operation", "small", "large", "ratio"],
        lines,
    )
    for names, goal in ((list(ratios)[:5], 1.3), (list(ratios)[5:], 2.0)):
        report.goal(
            f"{', '.join(names)} with {sizes}, against {SMALL[0]:,} of each",
            f"≤ {goal}",
            ", ".join(f"{ratios[name]:.2f}" for name in names),
            reached=max(ratios[name] for name in names) <= goal,
        )
