"""Through PgBouncer in transaction mode, with two connections: nothing of the service is left on them for others."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from taskapi.database import queries
from taskapi.database.database import Database
from taskapi.database.queries import Statement
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.conftest import StartService
from tests.repository.test_row_level_security import CONDITION
from tests.support.folders import short_folder
from tests.support.load import Client, crowd
from tests.support.owners import secured
from tests.support.pooler import PROGRAM, PgBouncer
from tests.support.replay import assert_replay_equals_tasks
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of

SETTINGS = (
    "statement_timeout",
    "lock_timeout",
    "jit",
    "client_encoding",
    "search_path",
    "transaction_read_only",
    "transaction_isolation",
    "default_transaction_isolation",
)
"""Not application_name: PgBouncer hands on the last client's to one that has none, which is its own affair."""

CLIENTS = 20


def test_no_setting_and_no_statement_is_left_behind(
    postgres: Server, database_url: str, start_service: StartService
) -> None:
    if not PROGRAM:
        pytest.fail("pgbouncer is not installed: apt-get install pgbouncer")
    with short_folder() as folder:
        pooler = PgBouncer(folder, postgres.embedded.run)
        pooler.start()
        try:
            before = _seen(pooler.url(database_url))
            service = start_service(DATABASE_URL=pooler.url(database_url))
            written = [0] * CLIENTS

            def work(client: Client, number: int) -> None:
                assert client.create(f"of client {number}").status == 201
                assert client.request("GET", "/tasks").status == 200
                written[number] += 1

            with crowd(service.port, CLIENTS, work):
                while sum(written) < 10 * CLIENTS:
                    # Other clients of the pooler, on the same two connections, in between and afterwards.
                    assert _seen(pooler.url(database_url)) == before
            for _ in range(10):
                assert _seen(pooler.url(database_url)) == before
        finally:
            pooler.stop()
    with Sql(database_url) as sql:
        assert sql.value("SELECT count(*) FROM tasks") == sum(written)
        assert_replay_equals_tasks(sql)


def _seen(url: str) -> list[object]:
    """The settings and the prepared statements that a client of the pooler finds."""
    with Sql(url) as sql:
        found: list[object] = [sql.value("SELECT current_setting(%s)", (name,)) for name in SETTINGS]
        return [*found, sql.value("SELECT count(*) FROM pg_prepared_statements")]


OWNERS, ROUNDS = 16, 15


def test_sixteen_owners_on_two_connections_are_kept_apart(postgres: Server, database_url: str) -> None:
    """By row-level security alone: no statement says whose rows it wants. The setting is gone with each transaction."""
    if not PROGRAM:
        pytest.fail("pgbouncer is not installed: apt-get install pgbouncer")
    careless = {
        name: Statement(name, statement.parameters, CONDITION.sub("true", statement.text))
        for name, statement in queries.load().items()
    }
    with short_folder() as folder:
        pooler = PgBouncer(folder, postgres.embedded.run)
        pooler.start()
        try:
            url = pooler.url(secured(database_url))
            database: Any = Database(Settings(database_url=url, db_connections=OWNERS, db_pool_timeout=30))
            database._statements = careless
            repository = Repository(database)

            def live(number: int) -> None:
                mine, titles = repository.of(f"owner-{number}"), set()
                for turn in range(ROUNDS):
                    titles.add(title := f"{number}.{turn}")
                    task_id = id_of(mine.create_task(title=title, description=None, idempotency_key=f"key {turn}"))
                    mine.set_task_completed(task_id=task_id, is_completed=True)
                    assert {task["title"] for task in orjson.loads(mine.list_tasks().tasks or b"")} == titles
                    assert mine.list_history(task_id=None, action_type=None, limit=1, offset=0)[0] == 2 * turn + 2
                    assert len(mine.list_changes(after=None, limit=1000).items) == 2 * turn + 2
                    with Sql(url) as other:
                        # Another client of the pooler, which says nothing of an owner.
                        assert other.value("SELECT count(*) FROM tasks") == 0
                        assert not other.value("SELECT current_setting('app.owner', true)")

            with ThreadPoolExecutor(OWNERS) as threads:
                for lived in [threads.submit(live, number) for number in range(OWNERS)]:
                    lived.result()
        finally:
            pooler.stop()
    with Sql(database_url) as sql:
        assert sql.rows("SELECT owner, count(*) FROM tasks GROUP BY owner ORDER BY owner") == sorted(
            (f"owner-{number}", ROUNDS) for number in range(OWNERS)
        )
        assert_replay_equals_tasks(sql)
