"""Each migration's downgrade leads back to the schema that it began with, from where it can be upgraded again."""

import alembic.command
from alembic.config import Config

from taskapi.places import ROOT
from taskapi.revision import head, known
from taskapi.settings import Settings
from tests.support.migrating import schema


def test_step_by_step_down_and_up_again(empty_database_url: str) -> None:
    configuration = Config(ROOT / "alembic.ini", attributes={"settings": Settings(database_url=empty_database_url)})
    schemas = {}
    for revision in sorted(known()):
        alembic.command.upgrade(configuration, revision)
        schemas[revision] = schema(empty_database_url)
    for revision in sorted(known(), reverse=True)[1:]:
        alembic.command.downgrade(configuration, revision)
        assert schema(empty_database_url) == schemas[revision], revision
        if revision > "0001":
            alembic.command.upgrade(configuration, head())
            assert schema(empty_database_url) == schemas[head()], revision
            alembic.command.downgrade(configuration, revision)
