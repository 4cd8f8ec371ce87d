"""The migrations: up and down to the same schema, many at once, and a sentence where they cannot go on."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from taskapi import migrations
from taskapi.places import ROOT
from taskapi.revision import COMMAND, head
from taskapi.settings import Settings
from tests.support.environment import environment_of
from tests.support.migrating import NEXT, alembic, migrate, next_version, psql, run, schema
from tests.support.sql import Sql
from tests.support.waiting import wait_until


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    """The one sentence on stderr of a start that was refused."""
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("taskapi: ")
    return line


def tables(url: str) -> set[str]:
    with Sql(url) as sql:
        return {name for (name,) in sql.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_head_is_alembics_head() -> None:
    assert head() == ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).get_current_head()


def test_each_migration_says_why_and_whether_it_is_safe() -> None:
    for revision in ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).walk_revisions():
        assert "Why: " in revision.longdoc, revision.path
        assert "Safe on a live service: " in revision.longdoc, revision.path
        assert Path(revision.path).name.startswith(f"{revision.revision}_")


def test_up_down_and_up_again_is_the_same_schema(empty_database_url: str) -> None:
    nothing = schema(empty_database_url)
    alembic("upgrade", "head", url=empty_database_url)
    first = schema(empty_database_url)
    alembic("downgrade", "base", url=empty_database_url)
    with Sql(empty_database_url) as sql:
        sql.execute("DROP TABLE taskapi_version")
    assert schema(empty_database_url) == nothing
    alembic("upgrade", "head", url=empty_database_url)
    assert schema(empty_database_url) == first


def test_alembics_own_command_needs_nothing_but_the_url(empty_database_url: str, tmp_path: Path) -> None:
    # As the service's messages advise it; from another folder, too.
    program = str(Path(sys.executable).parent / "alembic")
    for folder, command in ((ROOT, ["current"]), (tmp_path, ["-c", str(ROOT / "alembic.ini"), "upgrade", "head"])):
        done = subprocess.run(
            [program, *command],
            cwd=folder,
            env=environment_of(PATH="/usr/bin:/bin", DATABASE_URL=empty_database_url),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert tables(empty_database_url) >= {"tasks", "task_history"}


def test_the_sql_for_hand_made_changes_makes_the_same_schema(empty_database_url: str, template_url: str) -> None:
    script = run("alembic", "upgrade", "head", "--sql", url=empty_database_url)
    assert script.returncode == 0, script.stderr
    assert "SET lock_timeout" in script.stdout
    psql(empty_database_url, script.stdout)
    with Sql(empty_database_url) as sql:
        sql.execute("CREATE EXTENSION pg_stat_statements")
        assert sql.value("SELECT version_num FROM taskapi_version") == head()
    assert schema(empty_database_url) == schema(template_url)


def test_many_migrators_at_once_all_succeed(empty_database_url: str, template_url: str) -> None:
    command = [sys.executable, "-m", "taskapi.migrations"]
    environment = environment_of(PATH="/usr/bin:/bin", DATABASE_URL=empty_database_url)
    with Sql(empty_database_url) as sql, Sql(empty_database_url) as holder:
        with holder.transaction():
            # Held until all have seen the empty database, and mean to change it.
            holder.execute(migrations.ADVISORY_LOCK_SQL)
            migrators = [
                subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
                for _ in range(8)
            ]
            # Each opens two connections before it asks for its turn, and had one before.
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'taskapi-migrations'"
            )
            # Each gives up after a minute.
            wait_until(
                lambda: sql.value(waiting) == 2 * len(migrators), "all migrators wait for their turn", seconds=50
            )
        for migrator in migrators:
            output, errors = migrator.communicate()
            assert migrator.returncode == 0, errors
            assert output.startswith("The database's schema was brought from nothing to ")
        assert sql.rows("SELECT version_num FROM taskapi_version") == [(head(),)]
        sql.execute("CREATE EXTENSION pg_stat_statements")
    assert schema(empty_database_url) == schema(template_url)


def test_a_waiting_migrator_keeps_no_transaction(empty_database_url: str) -> None:
    """CREATE INDEX CONCURRENTLY of the one whose turn it is may wait for that transaction: each for the other."""
    url = empty_database_url
    waiter = migrations.connect(Settings(database_url=url))
    state = "SELECT state, query FROM pg_stat_activity WHERE pid = %s"
    pid = (waiter.info.backend_pid,)
    with closing(waiter), Sql(url) as sql, Sql(url) as holder, ThreadPoolExecutor() as threads:
        with holder.transaction():
            holder.execute(migrations.ADVISORY_LOCK_SQL)
            turn = threads.submit(migrations.take_turn, waiter)
            wait_until(lambda: sql.rows(state, pid) == [("idle", "ROLLBACK")], "it waits outside of a transaction")
        turn.result()
        assert sql.rows(state, pid) == [("idle in transaction", migrations.ADVISORY_LOCK_SQL)]


def test_no_limit_of_the_role_ends_a_turn_or_a_migration(empty_database_url: str) -> None:
    with Sql(empty_database_url) as sql:
        for limit in ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout"):
            sql.execute(f"ALTER DATABASE {sql.database} SET {limit} = '100ms'")
        holder = migrations.connect(Settings(database_url=empty_database_url))
        with closing(holder):
            migrations.take_turn(holder)
            sql.execute("SELECT pg_sleep(0.5)")
            assert sql.value(migrations.ADVISORY_LOCK_SQL) is False
    # Each migration's transaction begins with this.
    assert migrations.LIMITS_SQL in migrations.LOCK_TIMEOUT_SQL


def test_it_says_what_it_did(empty_database_url: str) -> None:
    newest = head()
    assert migrate(empty_database_url).stdout == f"The database's schema was brought from nothing to {newest}.\n"
    assert migrate(empty_database_url).stdout == f"The database's schema is up to date ({newest}).\n"


def test_an_up_to_date_schema_needs_no_right_to_change_it(database_url: str, sql: Sql) -> None:
    sql.execute(f"ALTER DATABASE {sql.database} SET default_transaction_read_only = on")
    assert migrate(database_url).returncode == 0
    assert migrate(database_url, AUTO_MIGRATE="false").returncode == 0


def test_a_downgraded_database_is_brought_up_again(database_url: str) -> None:
    alembic("downgrade", "base", url=database_url)
    assert migrate(database_url).stdout == f"The database's schema was brought from nothing to {head()}.\n"


# With AUTO_MIGRATE off, and with another version's schema


@pytest.mark.parametrize("form", ["postgres://", "postgresql://", "postgresql+psycopg2://"])
def test_an_empty_database_stops_the_start(form: str, empty_database_url: str) -> None:
    url = empty_database_url.replace("postgresql://", form)
    sentence = refusal(migrate(url, AUTO_MIGRATE="false"))
    assert f"is at nothing, this version of taskapi needs {head()}, and AUTO_MIGRATE is off" in sentence
    assert f"`{COMMAND}`" in sentence
    assert tables(empty_database_url) == set()


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_what_is_advised_works_where_the_service_may_not_migrate(page: str, empty_database_url: str) -> None:
    assert COMMAND in (ROOT / page).read_text()
    path = f"{Path(sys.executable).parent}:{os.defpath}"
    environment = {"PATH": path, "DATABASE_URL": empty_database_url, "AUTO_MIGRATE": "false"}
    subprocess.run(COMMAND, shell=True, cwd=ROOT, env=environment, check=True)
    assert migrate(empty_database_url, AUTO_MIGRATE="false").returncode == 0


def test_a_schema_that_is_behind_stops_the_start(database_url: str, tmp_path: Path) -> None:
    before = schema(database_url)
    sentence = refusal(migrate(database_url, code=next_version(tmp_path), AUTO_MIGRATE="false"))
    assert f"is at {head()}, this version of taskapi needs {NEXT}, and AUTO_MIGRATE is off" in sentence
    assert schema(database_url) == before


def test_a_schema_that_is_ahead_stops_the_start(database_url: str, tmp_path: Path) -> None:
    assert migrate(database_url, code=next_version(tmp_path)).returncode == 0
    before = schema(database_url)
    for auto_migrate in ("true", "false"):
        sentence = refusal(migrate(database_url, AUTO_MIGRATE=auto_migrate))
        assert f"is at {NEXT}, which this version of taskapi does not know" in sentence
        assert "Deploy a newer taskapi, or connect to another database" in sentence
    assert schema(database_url) == before


# Where it cannot go on


def test_a_locked_table_makes_it_give_up_and_change_nothing(database_url: str, sql: Sql, tmp_path: Path) -> None:
    code, before = next_version(tmp_path), schema(database_url)
    with sql.transaction():
        # As a write that takes long.
        sql.execute("LOCK TABLE tasks IN ROW EXCLUSIVE MODE")
        sentence = refusal(migrate(database_url, code=code))
    assert "A table stayed locked for longer than a migration may wait" in sentence
    assert "The migration was rolled back; start again." in sentence
    assert schema(database_url) == before
    assert migrate(database_url, code=code).stdout == f"The database's schema was brought from {head()} to {NEXT}.\n"


def test_a_role_that_cannot_read_the_version_is_not_told_to_migrate(
    database_url: str, new_role: Callable[[str], str]
) -> None:
    sentence = refusal(migrate(new_role(database_url)))
    assert "GRANT SELECT ON taskapi_version" in sentence
    assert "migrations" not in sentence


def test_a_role_without_the_right_is_told_who_has_it(
    empty_database_url: str, new_role: Callable[[str], str], template_url: str
) -> None:
    sentence = refusal(migrate(new_role(empty_database_url)))
    assert "The database role may not change the schema (permission denied" in sentence
    assert f"`{COMMAND}` with DATABASE_URL of the tables' owner" in sentence


def test_a_database_that_is_not_there_is_told_without_its_password(empty_database_url: str) -> None:
    url = empty_database_url.replace("taskapi@", "taskapi:hunter2@").replace("/test_", "/missing_")
    sentence = refusal(migrate(url))
    assert "The database of DATABASE_URL cannot be reached:" in sentence
    assert "does not exist" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("url", ["", "mysql://user:hunter2@host/db", "postgresql://user:hunt%er2@host/db", "hunter2"])
def test_no_postgresql_url_is_told_without_its_text(url: str) -> None:
    sentence = refusal(migrate(url))
    assert sentence.startswith("taskapi: DATABASE_URL")
    assert "hunt" not in sentence


def test_the_policies_say_what_they_waited_for_and_go_on(empty_database_url: str) -> None:
    """Each is a transaction of its own, outside of Alembic's: its error must not be hidden behind an aborted one."""
    alembic("upgrade", "0015", url=empty_database_url)
    with Sql(empty_database_url) as dump:
        with dump.transaction():
            dump.execute("LOCK TABLE task_history IN ACCESS SHARE MODE")
            sentence = refusal(migrate(empty_database_url))
        assert "A table stayed locked for longer than a migration may wait" in sentence
        assert dump.rows("SELECT tablename FROM pg_policies") == [("tasks",)]
        assert migrate(empty_database_url).returncode == 0
        assert dump.value("SELECT count(*) FROM pg_policies") == 6
