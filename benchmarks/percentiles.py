"""Honest percentiles: a hundred clients at half of what the service can do, counted from when a request was due."""

import itertools
from pathlib import Path

from benchmarks.client import Latencies, fixed_rate, message
from benchmarks.lab import Postgres, serve_taskapi
from benchmarks.report import Report
from benchmarks.wrk import load

CLIENTS = 100


def run(report: Report, postgres: Postgres, folder: Path, *, rounds: int, seconds: float) -> None:
    """Find the saturation rate with wrk, then ask at half of it."""
    url = postgres.database("percentiles", tasks=1000, entries=3000)
    ids = postgres.ids("percentiles", folder)
    # Else Postgres writes out what other parts have left, while these requests wait.
    postgres.run("CHECKPOINT")
    tasks = itertools.cycle(ids.read_text().split())
    messages = {
        "get": lambda: message("GET", f"/api/v1/tasks/{next(tasks)}"),
        "create": lambda: message("POST", "/api/v1/tasks", {"title": "Task", "description": "As usual."}),
    }
    with serve_taskapi(url) as server:
        for operation, make in messages.items():
            saturated = load(server.url, operation, ids, connections=CLIENTS, seconds=max(seconds, 3)).rate
            runs = [
                fixed_rate(server.url, make, rate=saturated / 2, connections=CLIENTS, seconds=4 * seconds)
                for _ in range(rounds)
            ]
            _report(report, operation, saturated, sorted(runs, key=lambda one: one.percentile(99))[rounds // 2])


def _report(report: Report, operation: str, saturated: float, found: Latencies) -> None:
    p50, p99 = found.percentile(50), found.percentile(99)
    report.goal(
        f"p99 at {CLIENTS} clients and half the saturation rate: {operation}",
        "≤ 10 ms, ≤ 6 × p50, no errors",
        f"{saturated / 2:,.0f}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {p99 / p50:.1f} × p50, {found.errors} errors",
        reached=p99 <= 10 and p99 <= 6 * p50 and not found.errors,
    )
