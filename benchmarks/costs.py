"""What a request costs: processor time of Python and of Postgres, memory, and the list of every task."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import writes
from benchmarks.client import Client
from benchmarks.lab import Postgres, Server, cpu_seconds, serve, serve_taskapi, tree
from benchmarks.report import Report
from benchmarks.wrk import load
from taskapi.database.connection import PLANNING
from taskapi.database.queries import load as load_statements
from tests.support.service import free_port

MANY = 10_000
"""Tasks in the long list."""

CLIENTS = 16

BARE = [sys.executable, "-m", "gunicorn", "--config=/dev/null", "--worker-class=gevent", "--workers=2"]
BARE += ["benchmarks.bare:app"]
"""gunicorn as it comes, with nothing of taskapi's: without --config it would find gunicorn.conf.py."""


def run(report: Report, postgres: Postgres, folder: Path, *, rounds: int, seconds: float, quick: bool) -> None:
    """Measure all of it."""
    url = postgres.database("costs", tasks=1000, entries=3000)
    ids = postgres.ids("costs", folder)
    with serve_taskapi(url) as idle:
        time.sleep(2)
        memory = idle.memory
    report.goal(
        "memory of the whole idle service, two workers", "≤ 135 MiB", f"{memory:.0f} MiB", reached=memory <= 135
    )
    _python(report, url, ids, folder, rounds=rounds, seconds=seconds)
    _writes(report, postgres, url, ids, rounds=rounds, seconds=seconds)
    writes.run(report, postgres, folder, quick=quick)
    _long_list(report, postgres)


def _python(report: Report, url: str, ids: Path, folder: Path, *, rounds: int, seconds: float) -> None:
    """Processor time of gunicorn's processes for a request: ours, and of a view that returns a constant."""
    figures: dict[str, list[float]] = {}
    port = free_port()
    # gunicorn's control socket would otherwise be in the home folder.
    environment = {"XDG_RUNTIME_DIR": str(folder)}
    with serve_taskapi(url) as ours, serve("bare", [*BARE, f"--bind=127.0.0.1:{port}"], port, environment) as bare:
        for _ in range(rounds * 2):
            for name, server, operation in (
                ("get", ours, "get"),
                ("bare", bare, "constant"),
                ("create", ours, "create"),
            ):
                figures.setdefault(name, []).append(_cpu(server, lambda: server.cpu_seconds, operation, ids, seconds))  # noqa: B023
    get, bare_view, create = (statistics.median(figures[name]) for name in ("get", "bare", "create"))
    report.table(
        "Processor time of the Python side, µs a request, 16 clients",
        ["bare Flask view", "get", "create", "get / bare"],
        [[f"{bare_view:.0f}", f"{get:.0f}", f"{create:.0f}", f"{get / bare_view:.2f}"]],
    )
    report.goal(
        "Python CPU of a get ÷ bare Flask view on unchanged gunicorn",
        "≤ 1.3",
        f"{get / bare_view:.2f}",
        reached=get / bare_view <= 1.3,
    )


def _cpu(server: Server, clock: Callable[[], float], operation: str, ids: Path, seconds: float) -> float:
    before = clock()
    done = load(server.url, operation, ids, connections=CLIENTS, seconds=seconds)
    if done.errors:
        raise RuntimeError(f"{operation}: {done.errors} errors")
    return (clock() - before) / done.requests * 1e6


def _writes(report: Report, postgres: Postgres, url: str, ids: Path, *, rounds: int, seconds: float) -> None:
    """Processor time of Postgres for a write: through the service, and of the statement alone in pgbench."""
    lines = []
    with serve_taskapi(url) as server:
        for operation in PGBENCH:
            ours, alone = [], []
            for _ in range(rounds):
                ours.append(_cpu(server, lambda: cpu_seconds(postgres.pid), operation, ids, seconds))
                alone.append(_pgbench(postgres, url, operation, seconds))
            figures = statistics.median(ours), statistics.median(alone)
            lines.append([operation, f"{figures[0]:.0f}", f"{figures[1]:.0f}", f"{figures[0] / figures[1]:.2f}"])
    report.table(
        "Processor time of Postgres, µs a write, 16 clients", ["operation", "taskapi", "pgbench", "ratio"], lines
    )
    worst = max(float(line[3]) for line in lines)
    report.goal(
        "Postgres CPU per write, against pgbench's prepared run of the same statement",
        "≤ 1.3",
        ", ".join(f"{line[0]} {line[3]}" for line in lines),
        reached=worst <= 1.3,
    )


TASK = "json_build_object('title', 'Task ' || :number::text, 'description', 'As usual.')::text"
CHANGES = "json_build_object('title', 'Task ' || :number::text)::text"
PGBENCH = {
    "create": ("create_task", {"owner": "'default'", "task": TASK}),
    # The ids are as lab.py makes them.
    "update": ("change_task", {"owner": "'default'", "task_id": "md5(:row::text)", "changes": CHANGES}),
}
"""The statement of each operation, and its parameters; all others are null."""

TIME_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

# pgbench cannot send a null: a hyphen stands for it.
NULL = "nullif(:nothing::text, '-')"


def _pgbench(postgres: Postgres, url: str, operation: str, seconds: float) -> float:
    """Postgres' processor time, in µs, of the very statement when pgbench has prepared it."""
    name, values = PGBENCH[operation]
    body = re.sub(r"--.*", "", load_statements()[name].text)
    body = re.sub(r"%\((\w+)\)s", lambda match: values.get(match[1], NULL), body).replace("%%", "%").strip()
    # Within a literal, too, pgbench takes what follows a colon for a variable's name.
    body = body.replace(f"'{TIME_FORMAT}'", ":format")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set number random(1, 1000000000)\n\\set row random(1, 1000)\n{body.rstrip(';')};\n")
        script.flush()
        command = [str(postgres.program("pgbench")), "--no-vacuum", "--protocol=prepared", "--define=nothing=-"]
        command += [f"--define=format={TIME_FORMAT}"]
        command += [f"--client={CLIENTS}", f"--time={seconds:.0f}", f"--file={script.name}", url]
        before, processes = cpu_seconds(postgres.pid), len(tree(postgres.pid))
        # As the service's sessions are.
        options = " ".join(f"-c{name}={value}" for name, value in re.findall(r"SET LOCAL (\w+) = (\w+);", PLANNING))
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGOPTIONS": options})
        while len(tree(postgres.pid)) > processes:  # the times of a process that is ending are in none of the sums
            time.sleep(0.01)
        spent = cpu_seconds(postgres.pid) - before
    found = re.search(r"transactions actually processed: (\d+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"pgbench: {done.stderr}")
    return spent / int(found[1]) * 1e6


def _long_list(report: Report, postgres: Postgres) -> None:
    """The list of many tasks, against psql with the same statement on a connection that is open."""
    url = postgres.database("long_list", tasks=MANY, entries=MANY)
    statement = load_statements()["list_tasks"].text.replace("%%", "%")
    statement = statement.replace("%(owner)s", "'default'").replace("%(known)s", "'{}'")
    ours, alone = [], []
    with serve_taskapi(url) as server, Client(server.url) as client, tempfile.NamedTemporaryFile("w") as script:
        script.write("\\timing on\n" + f"{statement} \\g /dev/null\n" * 5)
        script.flush()
        with ExitStack() as stack:
            for one in [stack.enter_context(Client(server.url)) for _ in range(20)]:
                one.request("GET", "/api/v1/stats/weekly")
        before = server.memory_of_each("VmRSS")
        for _ in range(7):
            for _ in range(5):
                client.request("GET", "/api/v1/tasks")
                ours.append(client.seconds * 1000)
            command = [str(postgres.program("psql")), "-XAtq", "--set=ON_ERROR_STOP=1", f"--file={script.name}", url]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            alone += [float(number) for number in re.findall(r"^Time: ([\d.]+) ms", printed, re.MULTILINE)]
        peak = server.memory_of_each("VmHWM")
        size = client.size / 2**20
    ratio = statistics.median(ours) / statistics.median(alone)
    growth = max(peak[pid] - before[pid] for pid in before) / 1024
    report.goal(
        f"`GET /tasks` with {MANY:,} tasks, against psql fetching the same JSON",
        "≤ 1.5",
        f"{ratio:.2f} ({statistics.median(ours):.0f} ms, psql {statistics.median(alone):.0f} ms)",
        reached=ratio <= 1.5,
    )
    report.goal(
        "growth of a worker by that, at its peak, against the size of the answer",
        "≤ 3",
        f"{growth / size:.1f} ({growth:.1f} MiB for {size:.1f} MiB)",
        reached=growth <= 3 * size,
    )
