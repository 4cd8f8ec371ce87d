"""Two instances of the service on one database, and the proxies in front of them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.faults.conftest import figure, pytest_terminal_summary
from tests.proxies.reverse_proxy import PROXIES, ReverseProxy
from tests.support.folders import short_folder
from tests.support.service import Service
from tests.support.sql import Sql

__all__ = ["figure", "pytest_terminal_summary"]


class StartProxy(Protocol):
    """See the fixture."""

    def __call__(
        self, kind: str, one: int, two: int, *, identity: str = "root", changes: Mapping[str, str] | None = None
    ) -> ReverseProxy: ...


@pytest.fixture
def start_proxy() -> Iterator[StartProxy]:
    """Call it to start nginx or HAProxy in front of two ports; it ends with the test."""
    with ExitStack() as proxies:

        def start(
            kind: str, one: int, two: int, *, identity: str = "root", changes: Mapping[str, str] | None = None
        ) -> ReverseProxy:
            folder = proxies.enter_context(short_folder())
            return proxies.enter_context(PROXIES[kind](folder, one, two, identity=identity, changes=changes))

        yield start


@pytest.fixture(params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy."""
    return str(request.param)


@pytest.fixture(scope="module")
def instances(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Two instances, which the tests of one file share."""
    folder = tmp_path_factory.mktemp("instances")
    with ExitStack() as running:
        services = []
        for _ in range(2):
            service = Service({"DATABASE_URL": module_database_url, "WEB_CONCURRENCY": "1"}, folder=folder)
            running.callback(service.kill)
            services.append(service)
        yield services


@pytest.fixture
def module_sql(module_database_url: str) -> Iterator[Sql]:
    """A direct connection to the database of `instances`."""
    with Sql(module_database_url) as sql:
        yield sql


@pytest.fixture
def proxy(kind: str, instances: list[Service], start_proxy: StartProxy) -> ReverseProxy:
    """A proxy in front of the two instances."""
    one, two = instances
    return start_proxy(kind, one.port, two.port)
