"""gunicorn's gevent worker (ours) against its threads: speed, fairness, and what slow clients do to others."""

import socket
import statistics
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks.lab import Postgres, Server, serve_taskapi
from benchmarks.wrk import Load, load, require_wrk

ROUNDS = 3
SECONDS = 4
SLOW = 200
"""Connections that send half a header, and no more."""

HEAD = (
    "| worker class | get/s, 16 clients | get/s, 100 clients | p99 ms, 100 clients | create/s, 16 clients |"
    " /health with 200 slow clients |"
)

CLASSES = {
    "gevent": (),
    "gthread, 10 threads": ("--worker-class=gthread", "--threads=10"),
    "gthread, 100 threads": ("--worker-class=gthread", "--threads=100"),
}


def main() -> None:
    """Print a table: for each class the medians of alternating rounds."""
    require_wrk()
    with Postgres() as postgres, ExitStack() as stack:
        url = postgres.database("tasks", tasks=1000, entries=3000)
        ids = postgres.ids("tasks", Path(stack.enter_context(tempfile.TemporaryDirectory())))
        print(HEAD)
        print("|---|---|---|---|---|---|")
        servers = {
            name: stack.enter_context(serve_taskapi(url, *options, name=name)) for name, options in CLASSES.items()
        }
        figures: dict[str, list[list[Load]]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, server in servers.items():
                figures[name].append(
                    [
                        load(server.url, operation, ids, connections=connections, seconds=SECONDS)
                        for operation, connections in (("get", 16), ("get", 100), ("create", 16))
                    ]
                )
        for name, rounds in figures.items():
            few, many, create = (list(column) for column in zip(*rounds, strict=True))
            print(
                f"| {name} | {median(few):,.0f} | {median(many):,.0f} |"
                f" {statistics.median(one.p99 for one in many):.0f} |"
                f" {median(create):,.0f} | {_with_slow_clients(servers[name])} |",
                flush=True,
            )


def median(loads: list[Load]) -> float:
    return statistics.median(one.rate for one in loads)


def _with_slow_clients(server: Server) -> str:
    with ExitStack() as stack:
        port = int(server.url.rpartition(":")[2])
        for _ in range(SLOW):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: x")
        time.sleep(1)
        started = time.monotonic()
        try:
            with urllib.request.urlopen(f"{server.url}/api/v1/health", timeout=10):
                return f"{(time.monotonic() - started) * 1000:.0f} ms"
        except OSError:
            return "none in 10 s"


if __name__ == "__main__":
    main()
