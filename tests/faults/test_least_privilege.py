"""A role that owns nothing runs the whole service, and can touch neither the history nor what keeps it true."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from psycopg2.errors import InsufficientPrivilege, IntegrityConstraintViolation

from taskapi.cursors import Snapshot
from taskapi.database import queries
from taskapi.database.database import Database
from taskapi.days import DAY
from taskapi.errors import VersionMismatch
from taskapi.places import ROOT
from taskapi.repository import Repository
from taskapi.repository.base import UNCOUNTED
from taskapi.repository.history import NEAR
from taskapi.role import RIGHTS, SECURE_SQL, SECURED
from taskapi.settings import Settings
from tests.support.ledger import NOTHING, PLAN, Ledger
from tests.support.load import Client
from tests.support.migrating import migrate, run
from tests.support.replay import assert_replay_equals_tasks
from tests.support.server import Server
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import id_of

OWNER = "taskapi_owner"


def documented() -> str:
    """The SQL that docs/operations.md gives: what is tested is what people will run."""
    text = (ROOT / "docs" / "operations.md").read_text()
    found = re.search(r"^## A role that owns nothing$.*?^```sql$(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, "docs/operations.md has no SQL under 'A role that owns nothing'"
    return found[1]


def test_it_is_what_the_command_runs() -> None:
    commands = [*(right.format(schema="public", role=ROLE) for right in RIGHTS)]
    commands += [SECURE_SQL.format(table=table) for table in SECURED]
    assert documented().split(";\n")[1:-1] == commands


ROLE = "".join(re.findall(r"CREATE ROLE (\w+)", documented()))


@pytest.fixture(scope="module")
def urls(postgres: Server) -> Iterator[dict[str, str]]:
    """The addresses of one database: of its owner, who is no superuser and has run the migrations, and of the role."""
    with postgres.database() as name, Sql(postgres.url(name)) as sql:
        by_role = {
            role: postgres.url(name).replace("//taskapi@", f"//{role}:choose%20one@")
            for role in (OWNER, ROLE, "taskapi")
        }
        sql.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
        sql.execute(f"ALTER DATABASE {name} OWNER TO {OWNER}")
        try:
            assert migrate(by_role[OWNER]).returncode == 0
            with Sql(by_role[OWNER]) as owner:
                owner.execute(documented())
            yield by_role
        finally:
            for role in sql.rows("SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)", (ROLE, OWNER)):
                sql.execute(f"DROP OWNED BY {role[0]} CASCADE")
                sql.execute(f"ALTER DATABASE {name} OWNER TO taskapi")
                sql.execute(f"DROP ROLE {role[0]}")


@pytest.fixture(scope="module")
def service(urls: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service in the name of the role, as in production."""
    environment = {"DATABASE_URL": urls[ROLE], "AUTO_MIGRATE": "false", "APP_ENV": "production"}
    running = Service(environment, folder=tmp_path_factory.mktemp("service"), database_url=urls[ROLE])
    yield running
    running.kill()


def test_every_endpoint_serves(service: Service, urls: dict[str, str]) -> None:
    ledger = Ledger()
    with Client(service.port) as client:
        for _ in PLAN:
            assert ledger.step(client, 1).status in (200, 201)
        first = client.create("with a key", key="of the role")
        again = client.create("with a key", key="of the role")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.data == first.data
        task_id = first.data["id"]
        for path in (
            "/tasks",
            f"/tasks/{task_id}",
            "/history",
            f"/history?task_id={task_id}",
            "/history?action_type=DELETED",
            "/changes",
            "/stats/weekly",
            f"/tasks/{task_id}/versions",
            "/stats/daily?from=2026-11-01&before=2026-11-25",
            "/health",
            "/health/ready",
        ):
            answer = client.request("GET", path)
            assert answer.status == 200, answer
            assert answer.data
    with Sql(urls["taskapi"]) as sql:
        assert_replay_equals_tasks(sql)
        assert sql.value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (ROLE,)) > 0
    assert "ERROR" not in service.log


REVOKED = ["INSERT ON task_history", "SELECT ON tasks", "EXECUTE ON FUNCTION answer(tasks)"]


@pytest.mark.parametrize("right", REVOKED)
def test_a_right_that_is_taken_away_and_given_back(service: Service, urls: dict[str, str], right: str) -> None:
    everyone = "PUBLIC" if "FUNCTION" in right else ROLE
    with Client(service.port) as client, Sql(urls[OWNER]) as owner:
        owner.execute(f"REVOKE {right} FROM {everyone}")
        try:
            answer = client.create("in vain")
        finally:
            owner.execute(f"GRANT {right} TO {everyone}")
        assert answer.status == 503
        assert NOTHING in answer.envelope["error"]
        assert client.create("well again").status == 201
        assert not [task for task in client.request("GET", "/tasks").data if task["title"] == "in vain"]
    assert "permission denied for" in service.log
    assert "Traceback" not in service.log


def test_every_statement_runs(urls: dict[str, str]) -> None:
    """Also those that only agents need."""
    database, ran = Database(Settings(database_url=urls[ROLE])), set()

    class Noting:
        def run(
            self, name: str, parameters: dict[str, Any], *, repeatable: bool, **options: bool
        ) -> tuple[Any, ...] | None:
            ran.add(name)
            return database.run(name, parameters, repeatable=repeatable, **options)

    repository = Repository(Noting())
    task_id = id_of(repository.create_task(title="x", description=None))
    repository.update_task(task_id=task_id, changes={"title": "y"})
    repository.set_task_completed(task_id=task_id, is_completed=True)
    repository.get_task(task_id=task_id)
    repository.get_task_with_history(task_id=task_id, entries=5)
    repository.list_tasks()
    repository.list_tasks_page(text="y", limit=5)
    repository.get_task_as_of(task_id=task_id, as_of=datetime.now(UTC))
    repository.list_tasks_as_of(as_of=datetime.now(UTC), limit=5)
    repository.list_versions(task_id=task_id, after=0, limit=5)
    repository.weekly_stats(as_of=datetime.now(UTC))
    repository.daily_stats(start=date(2026, 1, 1), bounds=[DAY, 2 * DAY])
    repository.daily_stats(start=date(1900, 1, 1), bounds=[7, 8])
    for filters in ({"task_id": task_id}, {"action_type": "CREATED"}, {}):
        wanted: dict[str, Any] = {"task_id": None, "action_type": None, **filters}
        assert repository.list_history(**wanted, limit=5, offset=0)[0] >= 1
    repository.list_history(task_id=None, action_type=None, limit=5, offset=NEAR)
    repository.select_history(actor="ann", limit=5)
    repository.list_changes(after=None, limit=5)
    repository.weekly_stats()
    repository.schema_version()
    repository.check_transactions()
    assert repository.owners_with_news({"default": Snapshot(1, 1), "ann": Snapshot(1, 1)}) == {"default"}
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    repository.weekly_stats()
    repository.undo_change(task_id=task_id, version=2)
    repository.restore_task(task_id=task_id, version=2)
    repository.create_tasks(tasks=[{"title": "a", "description": None}])
    many: list[UUID] = [task_id]
    repository.set_tasks_completed(task_ids=many, is_completed=False)
    repository.update_tasks(changes=[{"id": task_id, "title": "z"}])
    with pytest.raises(VersionMismatch, match="'y' -> 'z'"):
        repository.delete_tasks(task_ids=many, versions={task_id: 4})
    repository.delete_tasks(task_ids=many)
    repository.delete_task(task_id=id_of(repository.create_task(title="x", description=None)))
    database.drain()
    assert ran == set(queries.load())
    with Sql(urls["taskapi"]) as sql:
        assert_replay_equals_tasks(sql)


TOTALS = ("history_totals", "history_periods")

FORBIDDEN = {
    "the history": [
        "UPDATE task_history SET description = 'nothing'",
        "DELETE FROM task_history",
        "TRUNCATE task_history",
        "INSERT INTO task_history SELECT * FROM task_history"
        " ON CONFLICT (owner, task_id, version) DO UPDATE SET description = 'x'",
        "SELECT FROM task_history FOR UPDATE",
        "ALTER TABLE task_history ADD COLUMN note text",
        "ALTER TABLE task_history DROP CONSTRAINT task_history_pkey",
        "ALTER TABLE task_history RENAME TO elsewhere",
        f"ALTER TABLE task_history OWNER TO {ROLE}",
        "DROP TABLE task_history",
        "DROP INDEX task_history_idempotency_key",
        "CREATE RULE nothing AS ON INSERT TO task_history DO INSTEAD NOTHING",
    ],
    "the triggers": [
        *(
            f"ALTER TABLE {table} DISABLE TRIGGER {trigger}"
            for table, trigger in (
                ("task_history", "ALL"),
                ("task_history", "task_history_append_only"),
                ("task_history", "task_history_inserted"),
                ("tasks", "USER"),
                ("tasks", "tasks_updated"),
                ("tasks", "tasks_no_truncate"),
            )
        ),
        "ALTER TRIGGER tasks_updated ON tasks RENAME TO elsewhere",
        "DROP TRIGGER task_history_append_only ON task_history",
        "DROP TRIGGER tasks_deleted ON tasks",
        "DROP FUNCTION task_history_refuse_rewrite CASCADE",
        "CREATE OR REPLACE FUNCTION tasks_updated() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER first BEFORE INSERT ON tasks EXECUTE FUNCTION tasks_refuse_truncate()",
        "SET session_replication_role = replica",
        "SET LOCAL session_replication_role = replica",
        "SELECT set_config('session_replication_role', 'replica', false)",
        f"ALTER ROLE {ROLE} SET session_replication_role = replica",
    ],
    "the tasks as a whole": ["TRUNCATE tasks", "DROP TABLE tasks CASCADE", "ALTER TABLE tasks ADD COLUMN note text"],
    "the schema": [
        "CREATE TABLE public.mine (x text)",
        "CREATE VIEW public.mine AS SELECT 1",
        "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'",
        "CREATE SCHEMA mine",
        "ALTER SCHEMA public RENAME TO elsewhere",
        "UPDATE taskapi_version SET version_num = '0000'",
        "DELETE FROM taskapi_version",
    ],
    "others' rights": [
        f"SET ROLE {OWNER}",
        f"SET SESSION AUTHORIZATION {OWNER}",
        f"GRANT {OWNER} TO {ROLE}",
        "CREATE ROLE another",
        "COPY tasks TO '/tmp/tasks'",
        "COPY tasks TO PROGRAM 'cat'",
        "ALTER SYSTEM SET session_replication_role = replica",
    ],
}


@pytest.mark.parametrize("statement", [pytest.param(one, id=one[:60]) for group in FORBIDDEN.values() for one in group])
def test_the_role_may_not(statement: str, urls: dict[str, str], service: Service) -> None:
    with Sql(urls[ROLE]) as sql, pytest.raises(InsufficientPrivilege):
        sql.execute(statement)


def test_it_compares_the_history_and_only_the_owner_erases(urls: dict[str, str]) -> None:
    repository = Repository(Database(Settings(database_url=urls[ROLE])))
    task_id = id_of(repository.create_task(title="to be erased", description=None))
    repository.delete_task(task_id=task_id)
    done = run("taskapi.reconcile", url=urls[OWNER])
    assert (done.returncode, done.stderr) == (0, "")
    assert "tasks and totals are what the history amounts to" in done.stdout
    # The role would see one owner's rows, or none: it must not say that all is well.
    done = run("taskapi.reconcile", url=urls[ROLE])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("taskapi: Where row-level security is on, only the tables' owner sees all")
    for arguments in ([], ["--check"]):
        done = run("taskapi.repair", *arguments, url=urls[ROLE])
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("taskapi: Only the tables' owner may repair")
    texts = "SELECT description FROM task_history WHERE task_id = %s"
    with Sql(urls[OWNER]) as owner:
        before = owner.rows(texts, (str(task_id),))
        done = run("taskapi.erase", str(task_id), url=urls[ROLE])
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("taskapi: Only the owner of the tables may erase: use its DATABASE_URL.")
        assert "choose" not in done.stderr
        assert owner.rows(texts, (str(task_id),)) == before
        done = run("taskapi.erase", str(task_id), url=urls[OWNER])
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"by the role {OWNER}.\n")
        assert all(text.startswith("erased ") for (text,) in owner.rows(texts, (str(task_id),)))
    done = run("taskapi.reconcile", url=urls[OWNER])
    assert (done.returncode, done.stderr) == (0, "")


LIES = {
    "a change without an entry": "UPDATE tasks SET title = 'a lie', version = version + 1",
    "a removal without an entry": "DELETE FROM tasks",
    "a task without an entry": "INSERT INTO tasks (title, created_at, updated_at) VALUES ('a lie', now(), now())",
    "an entry without a change": (
        "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
        " SELECT gen_random_uuid(), 'UPDATED', 'a lie', now(), 2, '{}'"
    ),
}


@pytest.mark.parametrize("statement", LIES.values(), ids=LIES)
def test_the_triggers_hold_for_the_role(statement: str, urls: dict[str, str], service: Service) -> None:
    with Client(service.port) as client:
        client.create("to be lied about")
    with Sql(urls[ROLE]) as sql:
        sql.execute("SET app.owner = 'default'")
        with pytest.raises(IntegrityConstraintViolation):
            sql.execute(statement)


def test_the_role_has_what_it_needs_and_nothing_else(
    urls: dict[str, str], service: Service, figure: Callable[[str], None]
) -> None:
    with Sql(urls["taskapi"]) as sql:
        granted = set(
            sql.rows(
                "SELECT table_name, privilege_type FROM information_schema.table_privileges WHERE grantee = %s", (ROLE,)
            )
        )
        owned = sql.value("SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = %s", (ROLE,))
        role = sql.rows(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles"
            " WHERE rolname = %s",
            (ROLE,),
        )
        memberships = sql.value(
            "SELECT count(*) FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = %s)", (ROLE,)
        )
    assert granted == {
        *(("tasks", right) for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        *(("task_history", right) for right in ("SELECT", "INSERT")),
        *((table, right) for table in TOTALS for right in ("SELECT", "INSERT", "UPDATE")),
        ("taskapi_version", "SELECT"),
    }
    assert (owned, role, memberships) == (0, [(False,) * 5], 0)
    forbidden = sum(map(len, FORBIDDEN.values()))
    figure(f"{len(queries.load())} statements run, {forbidden} attempts on history, triggers and schema refused")
