"""What a complete history makes possible, on a small database and on one a thousand times as large, in turn."""

import random
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import md5
from uuid import UUID

from benchmarks.client import Client
from benchmarks.growth import LARGE, SMALL
from benchmarks.lab import Postgres, serve_taskapi
from benchmarks.report import Report
from taskapi.callers import OWNER
from taskapi.database.connection import PLANNING
from taskapi.database.queries import load

FILL = """
    SET session_replication_role = replica;  -- the triggers would look at each row
    INSERT INTO tasks (id, title, description, is_completed, created_at, updated_at, completed_at, version)
    SELECT md5(n::text)::uuid, 'Task number ' || n, 'What there is to do, in a sentence of usual length.', n %% 3 = 0,
           moment, moment + interval '5 hours', CASE WHEN n %% 3 = 0 THEN moment + interval '5 hours' END, 3
    FROM (
        SELECT n, now() - interval '6 hours' - (%(tasks)s - n) * interval '10 seconds' AS moment
        FROM generate_series(1, %(tasks)s) AS n
    ) AS numbers;
    INSERT INTO task_history (
        task_id, action_type, description, timestamp, version, snapshot, actor, request_id, change_set
    )
    SELECT
        id,
        CASE version_then WHEN 1 THEN 'CREATED' WHEN 3 THEN CASE WHEN is_completed THEN 'COMPLETED' ELSE 'UPDATED' END
            ELSE 'UPDATED' END,
        'title: ''' || title || '''',
        moment,
        version_then,
        to_jsonb(answer(tasks))
            || jsonb_build_object(
                'title', title || CASE version_then WHEN 1 THEN ' at first' ELSE '' END,
                'description', CASE WHEN version_then = 3 OR is_completed THEN description END,
                'updated_at', to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            )
            || CASE WHEN version_then < 3 THEN '{"is_completed": false, "completed_at": null}'::jsonb ELSE '{}' END,
        CASE version_then WHEN 2 THEN 'agent-7' END,
        md5(id::text || version_then),
        -- A hundred tasks each.
        CASE version_then WHEN 2 THEN 'run-' || substr(title, 13)::integer / 100 END
    FROM
        tasks,
        generate_series(1, 3) AS version_then,
        LATERAL (SELECT created_at + (ARRAY[0, 1, 5])[version_then] * interval '1 hour' AS moment) AS moments
    ORDER BY moment, id;
    RESET session_replication_role;
"""
"""Tasks with three entries each: created, renamed by an agent an hour later, and completed or described after five."""

ROUNDS = 30

Step = Callable[[Client], float]
"""Asks for something; returns the milliseconds that it took."""


def run(report: Report, postgres: Postgres, *, quick: bool) -> None:
    """Compare what must not depend on the size, and time what may."""
    large = (10_000, 30_000) if quick else LARGE
    sizes = {"small": SMALL[0], "large": large[0]}
    figures: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        clients = {}
        for name, tasks in sizes.items():
            url = _database(postgres, f"complete_{name}", tasks)
            clients[name] = stack.enter_context(Client(stack.enter_context(serve_taskapi(url)).url))
        for turn in range(3 if quick else ROUNDS):
            for name, client in clients.items():
                for operation, step in (_steady(turn, sizes[name]) | _growing(turn, sizes[name])).items():
                    milliseconds = step(client)
                    if turn:  # the first one warms up
                        figures.setdefault(operation, {}).setdefault(name, []).append(milliseconds)
    _report(report, figures, f"{large[0]:,} tasks and {large[1]:,} entries")


def _database(postgres: Postgres, name: str, tasks: int) -> str:
    url = postgres.migrated(name)
    postgres.run(FILL, name, tasks=tasks)
    postgres.run(PLANNING + load()["fold_totals"].text, name, owner=OWNER)
    postgres.run("VACUUM ANALYZE", name)
    postgres.run("CHECKPOINT")
    return url


def _id(number: int) -> str:
    """The id of the task with this number: see FILL."""
    return str(UUID(md5(str(number).encode(), usedforsecurity=False).hexdigest()))


def _asked(client: Client, method: str, path: str, body: object = None, **headers: str) -> float:
    client.request(method, f"/api/v1/{path}", body, **headers)
    return client.seconds * 1000


def _steady(turn: int, tasks: int) -> dict[str, Step]:
    """What takes as long with many tasks as with few."""
    chance = random.Random(turn)
    task = _id(chance.randrange(1, tasks + 1))

    def again(client: Client) -> float:
        client.request("GET", "/api/v1/tasks?limit=1")
        return _asked(client, "GET", "tasks?limit=1", If_None_Match=client.header("ETag"))

    def changes(client: Client) -> float:
        client.request("GET", "/api/v1/tasks?limit=1")
        after = client.header("Link").partition("changes?after=")[2].partition(">")[0]
        for number in range(100):
            client.request("PUT", f"/api/v1/tasks/{_id(1 + number)}", {"title": f"Turn {turn}, {number}"})
        return _asked(client, "GET", f"changes?limit=100&after={after}")

    return {
        "undo of one change": lambda client: _asked(client, "POST", f"tasks/{task}/undo", {"version": 2}),
        "304 of the list": again,
        "page of 100 of the list": lambda client: _asked(client, "GET", "tasks?limit=100&is_completed=true"),
        "page of 100 changes": changes,
        "task as of": lambda client: _asked(client, "GET", f"tasks/{task}?as_of={_now()}"),
        "versions": lambda client: _asked(client, "GET", f"tasks/{task}/versions"),
    }


def _growing(turn: int, tasks: int) -> dict[str, Step]:
    """What may take longer with more tasks, within its limit."""
    chance = random.Random(turn)
    moment = _moment(chance, tasks)

    def undo(client: Client) -> float:
        run = 1 + (turn % 5) if tasks <= SMALL[0] else chance.randrange(1, tasks // 100 - 1)
        return _asked(client, "POST", "undo", {"change_set": f"run-{run}", "skip_conflicts": True})

    return {
        "page of 100 as of any moment": lambda client: _asked(client, "GET", f"tasks?limit=100&as_of={moment}"),
        "the same, completed": lambda client: _asked(
            client, "GET", f"tasks?limit=100&is_completed=true&as_of={moment}"
        ),
        "statistics as of any moment": lambda client: _asked(client, "GET", f"stats/weekly?as_of={moment}"),
        "undo of 100 tasks": undo,
        "text that is nowhere": lambda client: _asked(client, "GET", "tasks?limit=10&text=nowhere"),
    }


def _moment(chance: random.Random, tasks: int) -> str:
    """A moment in the life of the list."""
    moment = datetime.now(UTC) - timedelta(hours=6, seconds=10 * chance.randrange(tasks))
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


LIMITS = {
    "page of 100 as of any moment": 1500,
    "the same, completed": 1500,
    "statistics as of any moment": 1000,
    "undo of 100 tasks": 500,
    "text that is nowhere": 15_000,
}
"""The most milliseconds of what may take longer."""


def _report(report: Report, figures: dict[str, dict[str, list[float]]], sizes: str) -> None:
    medians = {
        operation: {name: statistics.median(times) for name, times in of_one.items()}
        for operation, of_one in figures.items()
    }
    report.table(
        f"What the history makes possible: milliseconds for a request, with {SMALL[0]:,} tasks and with {sizes}",
        ["operation", "small", "large", "ratio", "slowest, large"],
        [
            [
                operation,
                f"{of_one['small']:.2f}",
                f"{of_one['large']:.2f}",
                f"{of_one['large'] / of_one['small']:.2f}",
                f"{max(figures[operation]['large']):.1f}",
            ]
            for operation, of_one in medians.items()
        ],
    )
    for operation, of_one in medians.items():
        ratio, milliseconds = of_one["large"] / of_one["small"], of_one["large"]
        if limit := LIMITS.get(operation):
            slowest = max(figures[operation]["large"])
            report.goal(
                f"{operation}, with {sizes}, the slowest", f"< {limit} ms", f"{slowest:.0f} ms", reached=slowest < limit
            )
        else:
            report.goal(
                f"{operation}, with {sizes} ÷ {SMALL[0]:,} tasks",
                "< 3, and < 20 ms",
                f"{ratio:.2f}, {milliseconds:.1f} ms",
                reached=ratio < 3 and milliseconds < 20,
            )
