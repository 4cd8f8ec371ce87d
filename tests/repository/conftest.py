"""Fixtures for the tests of the schema and its statements."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.server import Server
from tests.support.sql import Sql


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
