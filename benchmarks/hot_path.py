"""Where a worker's time goes: `python -m benchmarks.hot_path get` samples one with py-spy, and prints the shares."""

import collections
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.lab import Postgres, serve_taskapi, tree
from benchmarks.wrk import load, require_wrk

SECONDS = 10

PARTS = {
    "gunicorn: read and parse the request": "Parser.__next__",
    "gunicorn: make the WSGI environment": "create (gunicorn",
    "gunicorn: write the answer": "Response.write (taskapi",
    "Flask and below": "Flask.__call__",
    "… match the route": "MapAdapter.match",
    "… read and validate the body": "body (taskapi",
    "… the database": "Database.run (",
    "…… SQLAlchemy's pool, out": "Pool.connect",
    "…… SQLAlchemy's pool, back": "_ConnectionFairy.close",
    "…… psycopg2: send, wait, receive": "Database._send",
}
"""What to call it, and how the function's name begins. Deeper parts are within those above them."""


def main() -> None:
    """Print a table for one operation of operations.lua, 16 clients, one worker."""
    require_wrk()
    operation = sys.argv[1] if len(sys.argv) > 1 else "get"
    with Postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        url = postgres.database("hot_path", tasks=1000, entries=3000)
        ids, samples = postgres.ids("hot_path", Path(folder)), Path(folder) / "samples"
        with serve_taskapi(url, WEB_CONCURRENCY="1") as server:
            worker = tree(server.process.pid)[1]
            load(server.url, operation, ids, connections=16, seconds=2)
            spy = [str(Path(sys.executable).with_name("py-spy")), "record", "--function"]
            spy += ["--pid", str(worker), "--rate", "500", "--duration", str(SECONDS - 1), "--format", "raw"]
            sampling = subprocess.Popen([*spy, "--output", str(samples)], stdout=subprocess.DEVNULL)
            load(server.url, operation, ids, connections=16, seconds=SECONDS)
            sampling.wait()
        shares: collections.Counter[str] = collections.Counter()
        total = 0
        for line in samples.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            total += int(count)
            for name, function in PARTS.items():
                shares[name] += int(count) * any(frame.startswith(function) for frame in stack.split(";"))
    print(f"| {operation}: part | share of the worker's time |\n|---|---|")
    for name in PARTS:
        print(f"| {name} | {shares[name] / total:.0%} |")


if __name__ == "__main__":
    main()
