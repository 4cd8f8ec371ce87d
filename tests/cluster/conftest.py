"""The cluster, the two routes to it, and the table of what was measured."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from taskapi.places import ROOT
from tests.cluster.cluster import MISSING, Cluster
from tests.cluster.probe import TABLE_SQL
from tests.cluster.writes import Verdict
from tests.support.environment import environment_of
from tests.support.folders import short_folder
from tests.support.service import Service
from tests.support.sql import Sql


@dataclass
class Route:
    """A way from taskapi to the primary, an instance that goes it, and where its follower of the changes is."""

    name: str
    service: Service
    cursor: str


@dataclass(frozen=True)
class Row:
    """What one fault did on one route. Times in seconds."""

    fault: str
    turn: int
    route: str
    verdict: Verdict
    failover: float
    gap: float


ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=3, help="how often each fault happens (3)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(1, metafunc.config.getoption("--rounds") + 1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = terminalreporter.config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("measured")
        for line in (*each_round(rows), "", *all_rounds(rows)):
            terminalreporter.line(line)


def each_round(rows: list[Row]) -> Iterator[str]:
    """A table in Markdown."""
    yield "| fault | round | route | acknowledged | lost | doubled | untrue | failover, s | longest gap, s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        found = row.verdict
        counts = f"{found.acknowledged:,} | {found.lost} | {found.doubled} | {found.untrue}"
        yield f"| {row.fault} | {row.turn} | {row.route} | {counts} | {row.failover:.1f} | {row.gap:.1f} |"


def all_rounds(rows: list[Row]) -> Iterator[str]:
    """The table of docs/high-availability.md."""
    yield "| fault | route | acknowledged | lost | doubled | untrue | failover, s | longest gap, s |"
    yield "|---|---|---|---|---|---|---|---|"
    for fault, route in dict.fromkeys((row.fault, row.route) for row in rows):
        mine = [row for row in rows if (row.fault, row.route) == (fault, route)]
        counts = (
            f"{sum(getattr(row.verdict, name) for row in mine):,}"
            for name in ("acknowledged", "lost", "doubled", "untrue")
        )
        times = (
            " to ".join(dict.fromkeys(f"{end(seconds):.1f}" for end in (min, max)))
            for seconds in ([row.failover for row in mine], [row.gap for row in mine])
        )
        yield f"| {fault} | {route} | {' | '.join((*counts, *times))} |"


@pytest.fixture
def table(request: pytest.FixtureRequest) -> list[Row]:
    """The rows that are printed at the end of the run."""
    return request.config.stash.setdefault(ROWS, [])


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where the cluster is. Whatever runs there ends with the tests, however they end."""
    if MISSING:
        pytest.fail(MISSING, pytrace=False)
    with short_folder() as place:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.keeper", str(place)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        yield place
        keeper.communicate()


@pytest.fixture(scope="session")
def cluster(folder: Path) -> Cluster:
    """Three nodes, of which one is the primary and the others follow it."""
    cluster = Cluster(folder)
    cluster.wait_until_whole()
    return cluster


@pytest.fixture(scope="session")
def database(cluster: Cluster) -> str:
    """The direct address of taskapi's database, of its owner, on whichever node is the primary."""
    with Sql(cluster.superuser(cluster.primary())) as sql:
        sql.execute(TABLE_SQL)
        sql.execute("CREATE ROLE taskapi LOGIN CREATEROLE PASSWORD 'secret'")
        sql.execute("CREATE DATABASE taskapi OWNER taskapi")
    places = ",".join(cluster.places.values())
    return f"postgresql://taskapi:secret@{places}/taskapi?target_session_attrs=read-write"


@pytest.fixture(scope="session")
def routes(cluster: Cluster, database: str, folder: Path) -> Iterator[list[Route]]:
    """An instance of taskapi behind HAProxy, and one that knows all nodes. Both serve as the lesser role."""

    def call(*command: str) -> str:
        environment = environment_of(DATABASE_URL=database, AUTO_MIGRATE="true")
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    call("taskapi.migrations")
    (several,) = re.findall("DATABASE_URL='(.*)'", call("taskapi.role", "taskapi_app"))
    password = parse_dsn(several)["password"]
    urls = {"HAProxy": f"postgresql://taskapi_app:{password}@{cluster.proxy}/taskapi", "several hosts": several}
    with ExitStack() as services:
        routes = []
        for name, url in urls.items():
            service = Service({"DATABASE_URL": url, "AUTO_MIGRATE": "false"}, folder=folder)
            services.callback(service.kill)
            with service.client() as client:
                cursor = client.get("/api/v1/changes").json()["data"]["cursor"]
            routes.append(Route(name, service, cursor))
        yield routes
