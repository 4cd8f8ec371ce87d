"""The size of the runs, and the figures that they measure."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.support.backends import DurableServer
from tests.support.folders import short_folder
from tests.support.sql import Sql

Size = TypeVar("Size")

FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="make each fault happen as often as the promises say")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long", default=False):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Callable[[Size, Size], Size]:
    """Call it with the size of the short run, and of the long one, for this run's."""
    is_long = request.config.getoption("--long", default=False)
    return lambda short, long: long if is_long else short


@pytest.fixture
def figure(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Call it with what was measured: it stands at the end of the run, and in a JUnit report."""

    def record(text: str) -> None:
        record_property("figure", text)
        request.config.stash.setdefault(FIGURES, []).append(f"{request.node.name}: {text}")

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = terminalreporter.config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.line(line)


@pytest.fixture
def own_server() -> Iterator[DurableServer]:
    """A PostgreSQL of the test's own, to be killed; with the settings of production."""
    with short_folder() as folder:
        server = DurableServer(folder / "pg")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def own_sql(own_server: DurableServer) -> Iterator[Sql]:
    """A direct connection to the database of `own_server`."""
    with Sql(own_server.embedded.url) as sql:
        yield sql
