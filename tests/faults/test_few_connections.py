"""Fewer connections than DB_CONNECTIONS: a role that may have three, and a server that does not let go of some."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskapi.database.database import Database
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.conftest import StartService
from tests.support import backends
from tests.support.load import Client, crowd
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.waiting import wait_until

CLIENTS, ALLOWED = 40, 3


@pytest.fixture
def limited_url(postgres: Server, new_database: Callable[[], str]) -> Iterator[str]:
    """The address of a database for a role that may have three connections, not counting its migrations."""
    url = new_database()
    with Sql(url) as sql:
        sql.execute(f"CREATE ROLE limited LOGIN CONNECTION LIMIT {ALLOWED}")
        sql.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO limited")
        yield url.replace("//taskapi@", "//limited@")
        backends.terminate(sql)
        sql.execute("DROP OWNED BY limited")
        sql.execute("DROP ROLE limited")


def test_a_role_with_a_connection_limit(start_service: StartService, limited_url: str) -> None:
    service = start_service(DATABASE_URL=limited_url, WEB_CONCURRENCY="2")
    statuses: Counter[int] = Counter()

    def work(client: Client, number: int) -> None:
        statuses[client.create(f"of client {number}").status] += 1

    with crowd(service.port, CLIENTS, work):
        wait_until(lambda: sum(statuses.values()) > 25 * CLIENTS, "all are served")
    assert set(statuses) == {201}


def test_a_closed_connection_hides_no_other(limited_url: str) -> None:
    """One of two idle ones is cut, and the server allows no new one: the other serves, at once."""
    # Never through a pooler, whose connections are its own.
    settings = Settings(database_url=limited_url, db_connections=2, db_pool_timeout=0.5)
    repository, direct = Repository(Database(settings)), limited_url.replace("//limited@", "//taskapi@")
    own = "FROM pg_stat_activity WHERE usename = 'limited'"
    with Sql(direct) as sql, Sql(direct) as holder:
        with ThreadPoolExecutor(2) as threads:
            with holder.transaction():
                holder.execute("LOCK TABLE tasks")
                lists = [threads.submit(repository.list_tasks) for _ in range(2)]
                wait_until(lambda: sql.value(f"SELECT count(*) {own} AND wait_event_type = 'Lock'") == 2, "both wait")
            assert [listed.result().tasks for listed in lists] == [b"[]", b"[]"]
        sql.execute("ALTER ROLE limited CONNECTION LIMIT 1")
        repository.list_tasks()
        # The one that was used last is the first that the pool gives out.
        sql.execute(f"SELECT pg_terminate_backend((SELECT pid {own} ORDER BY state_change DESC LIMIT 1))")
        wait_until(lambda: sql.value(f"SELECT count(*) {own}") == 1, "it is gone")
        for _ in range(3):
            assert repository.list_tasks().tasks == b"[]"


def test_connections_that_the_server_holds_still_count(
    start_service: StartService, new_database: Callable[[], str]
) -> None:
    """Stopped backends keep theirs after the service has given them up. Once they go on, all is well."""
    url = new_database()
    limits: dict[str, Any] = {"DB_CONNECTIONS": str(ALLOWED), "DB_STATEMENT_TIMEOUT": "0.5", "DB_POOL_TIMEOUT": "0.5"}
    service = start_service(DATABASE_URL=url, WEB_CONCURRENCY="1", **limits)
    statuses: Counter[int] = Counter()

    def work(client: Client, number: int) -> None:
        statuses[client.create(f"of client {number}").status] += 1

    with Sql(url) as sql, crowd(service.port, CLIENTS, work):
        wait_until(lambda: backends.count(sql) == ALLOWED and statuses[201] > CLIENTS, "every connection serves")
        with backends.stopped(sql):
            wait_until(lambda: service.log.count("did not answer in time") >= ALLOWED, "they are given up")
            wait_until(lambda: "connections of the service are taken" in service.log, "others want one")
            assert backends.count(sql) == ALLOWED
        done = statuses[201]
        wait_until(lambda: statuses[201] > done + CLIENTS, "all is well again")
        assert backends.count(sql) <= ALLOWED
