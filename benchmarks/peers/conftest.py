"""Fixtures of the peers' test: the PostgreSQL of taskapi's own tests, and every implementation in front of it."""

from collections.abc import Iterator

import httpx
import pytest

from benchmarks.lab import LEAN_SCHEMA, serve, serve_taskapi
from benchmarks.peers.commands import LEAN, PEERS, PEERS_PYTHON, command
from tests.conftest import postgres, template
from tests.support.server import Server
from tests.support.service import free_port
from tests.support.sql import Sql

__all__ = ["postgres", "template"]  # fixtures

CONNECTIONS = 4


@pytest.fixture(scope="module")
def database_url(postgres: Server, template: str, implementation: str) -> Iterator[str]:
    """The direct URL of the implementation's own database: its schema, no tasks."""
    if implementation != LEAN:
        with postgres.database(template) as name:
            yield postgres.url(name)
        return
    with postgres.database() as name:
        with Sql(postgres.url(name)) as sql:
            sql.execute(LEAN_SCHEMA.read_text())
        yield postgres.url(name)


@pytest.fixture(scope="module", params=["taskapi", *PEERS])
def implementation(request: pytest.FixtureRequest) -> str:
    """The name of who has to keep the contract."""
    return str(request.param)


@pytest.fixture(scope="module")
def client(implementation: str, database_url: str) -> Iterator[httpx.Client]:
    """An HTTP client of the running implementation, with two workers as in the benchmarks."""
    if implementation == "taskapi":
        serving = serve_taskapi(database_url, DB_CONNECTIONS=str(CONNECTIONS))
    else:
        port = free_port()
        environment = {"DATABASE_URL": database_url, "DB_CONNECTIONS": str(CONNECTIONS)}
        line = command(implementation, str(PEERS_PYTHON), port, 2, CONNECTIONS)
        serving = serve(implementation, line, port, environment)
    with serving as server, httpx.Client(base_url=server.url, timeout=20.0, trust_env=False) as connected:
        yield connected


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    """A direct connection to the implementation's database."""
    with Sql(database_url) as connection:
        yield connection
