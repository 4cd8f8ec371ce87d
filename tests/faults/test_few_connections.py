"""Fewer connections than DB_CONNECTIONS: a role that may have three, and a server that does not let go of some."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

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
    service = start_service(DATABASE_URL=limited_url)
    statuses: Counter[int] = Counter()

    def work(client: Client, number: int) -> None:
        statuses[client.create(f"of client {number}").status] += 1

    with crowd(service.port, CLIENTS, work):
        wait_until(lambda: sum(statuses.values()) > 25 * CLIENTS, "all are served")
    assert set(statuses) == {201}


def test_connections_that_the_server_holds_still_count(
    start_service: StartService, new_database: Callable[[], str]
) -> None:
    """Stopped backends keep theirs after the service has given them up. Once they go on, all is well."""
    url = new_database()
    limits = {"DB_CONNECTIONS": str(ALLOWED), "DB_STATEMENT_TIMEOUT": "0.5", "DB_POOL_TIMEOUT": "0.5"}
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
