"""What a list of tasks costs the client's processor, by who renders its JSON: Postgres, orjson, or marshmallow."""

import statistics
import time
from collections.abc import Callable

import flask
import orjson
import psycopg2
import psycopg2.extensions as ext
from psycopg2.extras import RealDictCursor

from benchmarks.lab import Postgres
from taskapi.callers import OWNER
from taskapi.database.queries import load
from taskapi.schemas.tasks import TaskSchema

ROUNDS = 9
COLUMNS = "id::text, title, description, is_completed, created_at, updated_at, completed_at"
ORDER = "ORDER BY is_completed, created_at DESC, id"


def main() -> None:
    """Print the processor time of one list in each way, in µs: the median of the rounds, which alternate."""
    with Postgres() as postgres:
        print("| tasks | marshmallow dump + Flask's json | dict rows + orjson | Postgres renders |")
        print("|---|---|---|---|")
        for count in (1, 100, 10_000):
            url = postgres.database(f"tasks_{count}", tasks=count, entries=count)
            print(
                f"| {count:,} | " + " | ".join(f"{figure:,.0f}" for figure in _measure(url, count)) + " |", flush=True
            )


def _measure(url: str, count: int) -> list[float]:
    plain, raw = psycopg2.connect(url), psycopg2.connect(url)
    for connection in (plain, raw):
        connection.autocommit = True
    ext.register_type(ext.BYTES, raw)
    app = flask.Flask(__name__)
    schema = TaskSchema(many=True)
    statement = load()["list_tasks"].text

    def rows() -> list[dict[str, object]]:
        with plain.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM tasks {ORDER}")
            return [dict(row) for row in cursor.fetchall()]

    def marshmallow() -> bytes:
        with app.app_context():
            return app.json.dumps(schema.dump(rows())).encode()

    def with_orjson() -> bytes:
        return orjson.dumps(rows(), option=orjson.OPT_UTC_Z)

    def in_postgres() -> bytes:
        with raw.cursor() as cursor:
            cursor.execute(statement, {"owner": OWNER, "known": "{}"})
            answer: bytes = cursor.fetchone()[0]
            return answer

    ways: list[Callable[[], bytes]] = [marshmallow, with_orjson, in_postgres]
    times: list[list[float]] = [[] for _ in ways]
    repeats = max(1, 300 // count)
    for _ in range(ROUNDS):
        for way, results in zip(ways, times, strict=True):
            started = time.process_time()
            for _ in range(repeats):
                way()
            results.append((time.process_time() - started) / repeats * 1e6)
    plain.close()
    raw.close()
    return [statistics.median(results) for results in times]


if __name__ == "__main__":
    main()
