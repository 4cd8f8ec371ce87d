"""Fixtures for the tests of the schema and its statements."""

from collections.abc import Callable, Iterator

import pytest

from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.server import Server
from tests.support.sql import Sql


@pytest.fixture(scope="module")
def shared_repository(module_database_url: str, new_repository: NewRepository) -> Repository:
    """A repository for the tests of one file that do not mind each other's tasks."""
    return new_repository(module_database_url)


@pytest.fixture(scope="module")
def shared_sql(module_database_url: str) -> Iterator[Sql]:
    """A direct connection to the database of `shared_repository`."""
    with Sql(module_database_url) as connection:
        yield connection


@pytest.fixture
def emptied_database_url(module_database_url: str) -> str:
    """The URL of the file's database, without a task: sooner there than a database of its own, and as good for data."""
    with Sql(module_database_url) as sql, sql.without_triggers():
        sql.execute("TRUNCATE tasks, task_history, history_totals, history_periods")
    return module_database_url


@pytest.fixture
def template_url(postgres: Server, template: str) -> str:
    """The URL of the database that the others are made like. Only to look at."""
    return postgres.url(template)


@pytest.fixture
def new_role(postgres: Server) -> Iterator[Callable[[str], str]]:
    """Call it with a database's URL for the same as a role without rights."""
    with Sql(postgres.embedded.url) as sql:
        sql.execute("CREATE ROLE somebody LOGIN")
        yield lambda url: url.replace("taskapi@", "somebody@")
        sql.execute("DROP ROLE somebody")
