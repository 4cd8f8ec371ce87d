"""Agents, over both transports, on databases of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mcp.agent import Agent, HttpServer, Lines, stdio_agent
from tests.support.sql import Sql


@pytest.fixture(scope="module", params=["stdio", "http"])
def agent(
    request: pytest.FixtureRequest,
    module_database_url: str,
    reach: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Agent]:
    """An agent over each of the transports, on a database that the tests of one file share."""
    folder = tmp_path_factory.mktemp("agent")
    settings = {"DATABASE_URL": reach(module_database_url)}
    if request.param == "stdio":
        with stdio_agent(settings, folder) as connected:
            yield connected
        return
    server = HttpServer(settings, folder)
    with server.agent() as connected:
        yield connected
    server.stop()
    assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def http_server(
    module_database_url: str, reach: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServer]:
    """An HTTP server that the tests of one file share, with its database."""
    server = HttpServer({"DATABASE_URL": reach(module_database_url)}, tmp_path_factory.mktemp("http"))
    yield server
    server.stop()


@pytest.fixture
def start_http(database_url: str, reach: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., HttpServer]]:
    """Call it, with settings as keywords, to start an HTTP server on the test's own database; it ends with the test."""
    servers: list[HttpServer] = []

    def start(**settings: str) -> HttpServer:
        servers.append(HttpServer({"DATABASE_URL": reach(database_url), **settings}, tmp_path))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def lines(database_url: str, reach: Callable[[str], str], tmp_path: Path) -> Iterator[Lines]:
    """A server on stdio, for raw lines, on the test's own database; it must end well with the test."""
    server = Lines({"DATABASE_URL": reach(database_url)}, tmp_path)
    yield server
    assert server.close() == 0


@pytest.fixture
def module_sql(module_database_url: str) -> Iterator[Sql]:
    """A direct connection to the database of `agent`."""
    with Sql(module_database_url) as connection:
        yield connection
