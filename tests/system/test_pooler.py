"""Through PgBouncer in transaction mode, with two connections: nothing of the service is left on them for others."""

import pytest

from tests.conftest import StartService
from tests.support.folders import short_folder
from tests.support.load import Client, crowd
from tests.support.pooler import PROGRAM, PgBouncer
from tests.support.replay import assert_replay_equals_tasks
from tests.support.server import Server
from tests.support.sql import Sql

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
