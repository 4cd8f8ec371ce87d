"""Each migration's downgrade leads back to the schema that it began with, from where it can be upgraded again."""

from itertools import pairwise

import alembic.command
from alembic.config import Config

from taskapi.places import ROOT
from taskapi.revision import known
from taskapi.settings import Settings
from tests.support.migrating import schema


def test_step_by_step_down_and_up_again(empty_database_url: str) -> None:
    configuration = Config(ROOT / "alembic.ini", attributes={"settings": Settings(database_url=empty_database_url)})
    revisions = sorted(known())
    schemas = {}
    for revision in revisions:
        alembic.command.upgrade(configuration, revision)
        schemas[revision] = schema(empty_database_url)
    for revision, following in reversed(list(pairwise(revisions))):
        alembic.command.downgrade(configuration, revision)
        assert schema(empty_database_url) == schemas[revision], revision
        alembic.command.upgrade(configuration, following)
        assert schema(empty_database_url) == schemas[following], revision
        alembic.command.downgrade(configuration, revision)
