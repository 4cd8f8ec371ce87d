"""A connection of which nobody knows what comes next on it is not used again, and no error's text is without end."""

import logging
import struct

import pytest

from taskapi.database.database import Database
from taskapi.errors import OutcomeUnknown, RolledBack, SchemaMismatch, StatementFailed, TaskapiError
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.support.ledger import NOTHING
from tests.support.proxy import before_database
from tests.support.sql import Sql
from tests.support.tasks import task_of

COPY_OUT = b"H" + struct.pack("!ibhh", 9, 0, 1, 0)
"""A message that belongs to none of our statements; libpq waits for what would follow it."""


def repository_on(url: str) -> Repository:
    # Past any pooler: what spoils a connection is the pooler's to see there.
    return Repository(Database(Settings(database_url=url, db_connections=2)))


def test_one_that_is_out_of_step(database_url: str) -> None:
    proxy, url = before_database(database_url)
    repository = repository_on(url)
    with proxy:
        repository.list_tasks()
        proxy.instead = COPY_OUT
        with pytest.raises(OutcomeUnknown):
            repository.create_task(title="perhaps", description=None)
        repository.list_tasks()
        # A read is run again, on another one.
        proxy.instead = COPY_OUT
        repository.list_tasks()


def test_one_whose_triggers_remember_another_type(database_url: str, sql: Sql) -> None:
    repository = repository_on(database_url)
    repository.create_task(title="before", description=None)
    sql.execute("ALTER TABLE tasks ALTER COLUMN version TYPE bigint")
    with pytest.raises(SchemaMismatch, match=NOTHING):
        repository.create_task(title="in vain", description=None)
    assert task_of(repository.create_task(title="after", description=None))["title"] == "after"
    assert sql.value("SELECT count(*) FROM task_history") == 2


@pytest.mark.parametrize(("code", "kind"), [("53100", RolledBack), ("P0001", StatementFailed)])
def test_a_message_of_any_length(
    database_url: str, sql: Sql, caplog: pytest.LogCaptureFixture, code: str, kind: type[TaskapiError]
) -> None:
    sql.execute(
        f"""
        CREATE FUNCTION foreign_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION '%', repeat('long ', 1000000) USING ERRCODE = '{code}';
        END $$;
        CREATE TRIGGER foreign_trigger BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION foreign_trigger()
        """
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as raised:
        repository_on(database_url).create_task(title="x", description=None)
    texts = [str(raised.value), *(record.getMessage() for record in caplog.records)]
    assert max(map(len, texts)) < 1000
    assert any("long long" in text for text in texts)
