"""The fixtures that all tests share: one PostgreSQL a run, a database a test, and the service in front of it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from taskapi.database.database import Database
from taskapi.embedded import EmbeddedError
from taskapi.places import ROOT
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.support.environment import environment_of
from tests.support.folders import short_folder
from tests.support.owners import is_current, secured
from tests.support.pooler import PROGRAM, PgBouncer
from tests.support.server import Server
from tests.support.service import Service
from tests.support.sql import Sql

# Settings that are read in the tests' own process are not of the .env file of the person who runs them.
os.environ["ENV_FILE"] = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pgbouncer",
        action="store_true",
        help="everything reaches its database through PgBouncer, with two connections, as the lesser role",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--pgbouncer") and not PROGRAM:
        raise pytest.UsageError("--pgbouncer: pgbouncer is not installed (on Debian: apt-get install pgbouncer)")


# The databases


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The run's PostgreSQL, from the wheel. Without it there is nothing to test: the run ends."""
    with short_folder() as folder:
        server = Server(folder / "pg")
        try:
            server.start()
        except EmbeddedError as error:
            pytest.exit(f"the tests need the embedded PostgreSQL: {error}", returncode=1)
        with server.neighbour():
            yield server
        server.stop()


@pytest.fixture(scope="session")
def template(postgres: Server) -> Iterator[str]:
    """A database with the newest schema and nothing in it, for others to be made like it."""
    with postgres.database() as name:
        subprocess.run(
            [sys.executable, "-m", "taskapi.migrations"],
            cwd=ROOT,
            env=environment_of(DATABASE_URL=postgres.url(name)),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with Sql(postgres.url(name)) as sql:
            sql.execute("CREATE EXTENSION pg_stat_statements")
        yield name


@pytest.fixture
def new_database(postgres: Server, template: str) -> Iterator[Callable[[], str]]:
    """Call it for the direct URL of one more database; all are dropped after the test."""
    with ExitStack() as databases:
        yield lambda: postgres.url(databases.enter_context(postgres.database(template)))


@pytest.fixture
def database_url(postgres: Server, template: str) -> Iterator[str]:
    """The direct URL of the test's own database: the newest schema, no tasks."""
    with postgres.database(template) as name:
        yield postgres.url(name)


@pytest.fixture(scope="module")
def module_database_url(postgres: Server, template: str) -> Iterator[str]:
    """The direct URL of a database that the tests of one file share."""
    with postgres.database(template) as name:
        yield postgres.url(name)


@pytest.fixture
def empty_database_url(postgres: Server) -> Iterator[str]:
    """The direct URL of a database without a schema."""
    with postgres.database() as name:
        yield postgres.url(name)


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    """A direct connection to the test's own database."""
    with Sql(database_url) as connection:
        yield connection


# The code under test, on them


@pytest.fixture(scope="session")
def reach(request: pytest.FixtureRequest, postgres: Server) -> Iterator[Callable[[str], str]]:
    """From a database's direct URL to the one that the code under test gets: through PgBouncer where that is wanted.

    There it is that of the lesser role, but for a database that is still to be migrated.
    """
    if not request.config.getoption("--pgbouncer"):
        yield lambda direct: direct
        return
    with short_folder() as folder:
        pooler = PgBouncer(folder, postgres.embedded.run)
        try:
            pooler.start()
            yield lambda direct: pooler.url(secured(direct) if is_current(direct) else direct)
        finally:
            pooler.stop()


class NewRepository(Protocol):
    """See the fixture."""

    def __call__(self, database_url: str, **settings: Any) -> Repository: ...


@pytest.fixture(scope="session")
def new_repository(reach: Callable[[str], str]) -> NewRepository:
    """Call it for a repository on the database of a direct URL, with a pool and with settings of its own."""

    def make(database_url: str, **settings: Any) -> Repository:
        return Repository(Database(Settings(**{"database_url": reach(database_url), "db_connections": 4, **settings})))

    return make


@pytest.fixture
def repository(database_url: str, new_repository: NewRepository) -> Repository:
    """The repository, on the test's own database."""
    return new_repository(database_url)


class StartService(Protocol):
    """See the fixture."""

    def __call__(
        self,
        database_url: str | None = None,
        *,
        code: Path = ROOT,
        cwd: Path | None = None,
        output: int | None = None,
        **environment: str,
    ) -> Service: ...


@pytest.fixture
def start_service(
    new_database: Callable[[], str], reach: Callable[[str], str], tmp_path: Path
) -> Iterator[StartService]:
    """Call it to start one more service: with settings as keywords, on the database of a direct URL or one of its own.

    It has one worker, where the settings do not ask for more: the second one would only make the start slower.
    DATABASE_URL among the settings is handed over as it is. All end after the test.
    """
    with ExitStack() as services:

        def start(
            database_url: str | None = None,
            *,
            code: Path = ROOT,
            cwd: Path | None = None,
            output: int | None = None,
            **environment: str,
        ) -> Service:
            if "DATABASE_URL" not in environment:
                database_url = database_url or new_database()
                environment["DATABASE_URL"] = reach(database_url)
            environment = {"WEB_CONCURRENCY": "1", **environment}
            service = Service(
                environment, folder=tmp_path, database_url=database_url or "", code=code, cwd=cwd, output=output
            )
            services.callback(service.kill)
            return service

        yield start


@pytest.fixture(scope="session")
def service(
    postgres: Server, template: str, reach: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service, with two workers, which many files share: none may rely on the tasks that it has."""
    with postgres.database(template) as name:
        url = postgres.url(name)
        running = Service({"DATABASE_URL": reach(url)}, folder=tmp_path_factory.mktemp("service"), database_url=url)
        yield running
        running.kill()


@pytest.fixture(scope="session")
def service_sql(service: Service) -> Iterator[Sql]:
    """A direct connection to the database of `service`."""
    with Sql(service.database_url) as connection:
        yield connection
