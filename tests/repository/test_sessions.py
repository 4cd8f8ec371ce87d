"""What a role or a database may set for its sessions: it works, or the start says in one sentence why it cannot."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from taskapi.migrations import MigrationError, prepare_schema
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support import backends
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of

WORKS = {
    "search_path": "pg_catalog, public",
    "TimeZone": "'America/St_Johns'",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "'iso_8601'",
    # Behind a pooler, a message begins under this one. Not so short that a busy machine needs it all for that.
    "statement_timeout": "1000",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "row_security": "off",
    "client_encoding": "'LATIN1'",
    "bytea_output": "'escape'",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "off",
    "synchronous_commit": "off",
    "jit": "on",
    "plan_cache_mode": "'force_custom_plan'",
    "default_transaction_deferrable": "on",
    "quote_all_identifiers": "on",
    "extra_float_digits": "-15",
    "xmlbinary": "'hex'",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "role": "'taskapi'",
}
REFUSED = {"session_replication_role": "replica", "search_path": "nowhere"}
TITLE = 'It\'s \\ "ü" %s\n🦀'


@pytest.fixture
def altered_url(request: pytest.FixtureRequest, module_database_url: str) -> Iterator[str]:
    """The file's database, with one setting of its own."""
    name, value = request.param
    with Sql(module_database_url) as sql:
        sql.execute(f"ALTER DATABASE {sql.database} SET {name} = {value}")
        yield module_database_url
        sql.execute(f"ALTER DATABASE {sql.database} RESET {name}")
        backends.terminate(sql)


@pytest.mark.parametrize("altered_url", WORKS.items(), ids=WORKS, indirect=True)
def test_a_setting_that_changes_nothing(altered_url: str, new_repository: NewRepository) -> None:
    repository = new_repository(altered_url)
    written = repository.create_task(title=TITLE, description="a\\b", idempotency_key=f"key of {altered_url}")
    task = orjson.loads(written.task)
    assert task["title"] == TITLE
    assert len(task["created_at"]) == len("2026-11-24T08:31:22.726558Z")
    repository.update_task(task_id=id_of(written), changes={"description": None})
    repository.create_tasks(tasks=[{"title": TITLE, "description": None}])
    assert repository.list_history(task_id=id_of(written), action_type=None, limit=9, offset=0)[0] == 2
    assert orjson.loads(repository.weekly_stats())["week_start"].endswith("T00:00:00Z")


@pytest.mark.parametrize("altered_url", [("statement_timeout", "1000")], ids=["short"], indirect=True)
def test_a_statement_may_take_as_long_as_the_settings_say(altered_url: str, new_repository: NewRepository) -> None:
    database: Any = new_repository(altered_url)._database
    database._statements = {**database._statements, "asked": _Sleeping()}
    assert database.run("asked", {}, repeatable=True) is not None


@pytest.mark.parametrize("altered_url", [("synchronous_commit", "off")], ids=["off"], indirect=True)
def test_an_acknowledged_write_is_on_the_disk(altered_url: str, new_repository: NewRepository) -> None:
    database: Any = new_repository(altered_url)._database
    database._statements = {**database._statements, "asked": _Asking()}
    assert database.run("asked", {}, repeatable=True)[0] == b"on"


class _Sleeping:
    parameters = ()
    text = prepare = execute = "SELECT pg_sleep(1.5)"


class _Asking:
    parameters = ()
    text = prepare = execute = "SELECT current_setting('synchronous_commit')"


@pytest.mark.parametrize("altered_url", REFUSED.items(), ids=REFUSED, indirect=True)
def test_a_setting_that_cannot_work(altered_url: str, request: pytest.FixtureRequest) -> None:
    (name,) = [name for name in REFUSED if name in request.node.name]
    with pytest.raises(MigrationError, match=rf"cannot be used: .*{name}.* RESET"):
        prepare_schema(Settings(database_url=altered_url))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_utf8(postgres: Server, encoding: str) -> None:
    with Sql(postgres.embedded.url) as sql:
        # Only the locale C goes with every encoding.
        sql.execute(
            f"CREATE DATABASE foreign_encoding TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER libc"
        )
        try:
            with pytest.raises(MigrationError, match=rf"encoding is {encoding}, and taskapi needs UTF8"):
                prepare_schema(Settings(database_url=postgres.url("foreign_encoding")))
        finally:
            sql.execute("DROP DATABASE foreign_encoding WITH (FORCE)")
