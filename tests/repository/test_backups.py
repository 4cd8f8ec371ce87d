"""A dump of a whole life, restored with the commands of docs/backups.md: into the same cluster, into a younger one, and
for another owner of the tables."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from psycopg2 import errors

from taskapi.cursors import Cursor
from taskapi.database.database import Database
from taskapi.embedded import find_binaries
from taskapi.errors import CursorGone, IdempotencyKeyReused
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.undo import Chosen
from taskapi.settings import Settings
from tests.support.documented import follow, recipe
from tests.support.folders import short_folder
from tests.support.migrating import migrate, run
from tests.support.owners import LESSER, SECRET, bearer, secured
from tests.support.replay import assert_replay_equals_tasks
from tests.support.server import Server
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import id_of
from tests.support.writers import Statements

RIGHTS_SQL = """
SELECT relname, relrowsecurity, relacl::text
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname LIKE 'task%'
UNION ALL
SELECT proname, prosecdef, proacl::text
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prosecdef
ORDER BY 1
"""

EVERYBODY_MAY_SQL = "SELECT has_function_privilege('public', 'owners_with_news(text[], pg_snapshot[])', 'EXECUTE')"

BURN_SQL = "DO $$ BEGIN FOR n IN 1..{} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


@dataclass(frozen=True)
class Life:
    """A database with everything in it. `inside` and `behind` are cursors from before its last change, `late` one whose
    client has yet to see that change's transaction end; `lost` tells of what came after the dump."""

    url: str
    dump: Path
    task: UUID
    erased: UUID
    inside: Cursor
    behind: Cursor
    late: Cursor
    lost: Cursor


def repository_of(url: str) -> Repository:
    """Not through a pooler, whatever this run's option says: the servers here are the tests' own."""
    return Repository(Database(Settings(database_url=url, db_connections=2)))


def position_of(sql: Sql, owner: str = "default") -> Cursor:
    return Cursor.of_position(sql.value("SELECT position_now(%s)", (owner,)))


def items_of(repository: Repository, after: Cursor | None) -> list[dict[str, object]]:
    page = repository.list_changes(after=after, limit=1000)
    items = [orjson.loads(item) for item in page.items]
    return items + items_of(repository, page.cursor) if page.has_more else items


@pytest.fixture(scope="module")
def life(postgres: Server, template: str) -> Iterator[Life]:
    with short_folder() as folder, postgres.database(template) as name, Sql(postgres.url(name)) as sql:
        url = postgres.url(name)
        # Only a superuser could restore it.
        sql.execute("DROP EXTENSION pg_stat_statements")
        repository = repository_of(secured(url))
        # So that its transactions have larger numbers than those of a new cluster.
        sql.execute(BURN_SQL.format(5000))
        run_of_an_agent = Origin("agent", "request", "run")
        tasks = [id_of(repository.create_task(title=f"Task {n}", description=None)) for n in range(20)]
        repository.set_tasks_completed(task_ids=tasks[5:], is_completed=True, origin=run_of_an_agent)
        repository.update_task(task_id=tasks[0], changes={"title": "Once"}, idempotency_key="key")
        repository.update_task(task_id=tasks[0], changes={"title": "Twice"})
        repository.undo(chosen=Chosen(change_set="run"))
        for number in range(9):
            id_of(repository.of(f"owner-{number}").create_task(title=f"of owner {number}", description="secret"))
        repository.delete_task(task_id=tasks[1])
        repository.delete_task(task_id=tasks[2])
        assert run("taskapi.erase", str(tasks[2]), url=url).returncode == 0
        inside = repository.list_changes(after=None, limit=7).cursor
        behind = position_of(sql)
        with Sql(url) as slow:
            slow.execute("BEGIN")
            # Its number and its time come before those of the newest one, and its end comes after it.
            Repository(Statements(slow)).delete_task(task_id=tasks[3])
            repository.update_task(task_id=tasks[4], changes={"title": "the newest"})
            late = position_of(sql)
            slow.execute("COMMIT")
        dump = folder / "taskapi"
        follow(recipe("Dump and restore", 0, _backup_taskapi=dump), DATABASE_URL=url)
        repository.create_task(title="after the dump", description=None)
        yield Life(url, dump, tasks[0], tasks[2], inside, behind, late, position_of(sql))


def restore(life: Life, url: str, *, needs_role: bool) -> None:
    commands = recipe("Dump and restore", 1, _backup_taskapi=life.dump, taskapi_app=LESSER) if needs_role else ""
    commands = commands or recipe("Dump and restore", 1, _backup_taskapi=life.dump).partition("\n")[2]
    follow(commands, DATABASE_URL=url)


@pytest.fixture(scope="module")
def same(life: Life, postgres: Server) -> Iterator[str]:
    """The URL of the same life in another database of its cluster."""
    with postgres.database() as name:
        restore(life, postgres.url(name), needs_role=False)
        yield postgres.url(name)


@contextmanager
def young_server() -> Iterator[Server]:
    with short_folder() as folder:
        server = Server(folder / "pg")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def test_it_is_the_same_with_all_rights(life: Life, same: str) -> None:
    with Sql(life.url) as old, Sql(same) as new:
        after = "WHERE description NOT LIKE '%%after the dump%%'"
        assert new.rows("SELECT * FROM task_history ORDER BY 1") == old.rows(
            f"SELECT * FROM task_history {after} ORDER BY 1"
        )
        assert new.rows(RIGHTS_SQL) == old.rows(RIGHTS_SQL)
        assert {row[1] for row in new.rows(RIGHTS_SQL)} == {True, False}  # taskapi_version has no owners
        assert new.value("SELECT count(DISTINCT owner) FROM tasks") == 10
        assert_replay_equals_tasks(new)
    for command in (("taskapi.reconcile",), ("taskapi.repair", "--check")):
        done = run(*command, url=same)
        assert done.returncode == 0, done.stdout


def test_the_lesser_role_serves_and_keys_are_kept(life: Life, same: str) -> None:
    repository = repository_of(same.replace("//taskapi@", f"//{LESSER}@"))
    again = repository.update_task(task_id=life.task, changes={"title": "Once"}, idempotency_key="key")
    assert again.replayed
    with pytest.raises(IdempotencyKeyReused):
        repository.update_task(task_id=life.task, changes={"title": "Other"}, idempotency_key="key")
    assert len(items_of(repository.of("owner-3"), None)) == 1
    with Sql(same.replace("//taskapi@", f"//{LESSER}@")) as sql:
        assert sql.value("SELECT count(*) FROM tasks") == 0, "without an owner, row-level security shows no row"
    assert run("taskapi.erase", str(life.erased), url=same).stdout.startswith("The texts of"), "it is erased already"


def test_cursors_go_on_where_nothing_is_lost(life: Life, same: str) -> None:
    repository = repository_of(same)
    everything = items_of(repository, None)
    assert items_of(repository, life.inside) == everything[7:]
    assert [item["action_type"] for item in items_of(repository, life.behind)] == ["DELETED", "UPDATED"]
    assert [item["action_type"] for item in items_of(repository, life.late)] == ["DELETED"]
    with pytest.raises(CursorGone):
        repository.list_changes(after=life.lost, limit=1)


def test_the_services_role_cannot_dump(life: Life, tmp_path: Path) -> None:
    url = life.url.replace("//taskapi@", f"//{LESSER}@")
    command = [str(find_binaries() / "pg_dump"), f"--file={tmp_path / 'dump'}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "permission denied" in done.stderr


def test_another_owner_of_the_tables(life: Life, postgres: Server) -> None:
    """Not a superuser, and not the one who owned them before."""
    with postgres.database() as name, Sql(postgres.url(name)) as sql:
        sql.execute(f"CREATE ROLE another LOGIN; ALTER DATABASE {name} OWNER TO another")
        try:
            url = postgres.url(name).replace("//taskapi@", "//another@")
            commands = recipe("Dump and restore", 1, _backup_taskapi=life.dump, pg_restore="pg_restore --no-owner")
            follow(commands.partition("\n")[2], DATABASE_URL=url)
            assert sql.value("SELECT tableowner FROM pg_tables WHERE tablename = 'task_history'") == "another"
            lesser = repository_of(url.replace("//another@", f"//{LESSER}@"))
            lesser.create_task(title="After", description=None)
            assert lesser.owners_with_news({"default": life.behind.upto}) == {"default"}
            # A right that is taken from everybody, which --no-privileges would leave out.
            assert not sql.value(
                "SELECT has_function_privilege('public', 'owners_with_news(text[], pg_snapshot[])', 'EXECUTE')"
            )
            with Sql(url.replace("//another@", f"//{LESSER}@")) as role, pytest.raises(errors.InsufficientPrivilege):
                role.execute("DELETE FROM task_history")
            assert_replay_equals_tasks(sql)
        finally:
            sql.execute("REASSIGN OWNED BY another TO taskapi; DROP OWNED BY another; DROP ROLE another")


def test_a_younger_cluster(life: Life, tmp_path: Path) -> None:
    """The role is made first. Until the repair the service does not start; then it serves as that role."""
    with young_server() as server, server.database() as name, Sql(server.url(name)) as sql:
        url = server.url(name)
        make_role, restoring, repairing, reconciling = recipe(
            "Dump and restore", 1, _backup_taskapi=life.dump, taskapi_app=LESSER
        ).splitlines()
        follow(f"{make_role}\n{restoring}", DATABASE_URL=url)
        refused = migrate(url, AUTO_MIGRATE="false")
        assert refused.returncode == 1
        assert "python -m taskapi.repair" in refused.stderr
        assert "This is repaired." in follow(f"{repairing}\n{reconciling}", DATABASE_URL=url)
        repository = repository_of(url)
        assert repository.update_task(task_id=life.task, changes={"title": "Once"}, idempotency_key="key").replayed
        cursors = (life.inside, life.behind, life.late, life.lost)
        for cursor in cursors:
            with pytest.raises(CursorGone):
                repository.list_changes(after=cursor, limit=1)
        # Also when the numbers that they tell of have been given away again, to others.
        sql.execute(BURN_SQL.format(life.lost.upto.xmax))
        for cursor in cursors:
            with pytest.raises(CursorGone):
                repository.list_changes(after=cursor, limit=1)
        now = position_of(sql)
        service = Service(
            {
                "DATABASE_URL": url.replace("//taskapi@", f"//{LESSER}@"),
                "APP_ENV": "production",
                "AUTO_MIGRATE": "false",
                "API_TOKENS": "token",
                "JWT_SECRET": SECRET,
                "WEB_CONCURRENCY": "1",
            },
            folder=tmp_path,
        )
        try:
            with service.client(headers=bearer("owner-3")) as client:
                assert client.get("/api/v1/health/ready").status_code == 200
                (task,) = client.get("/api/v1/tasks").json()["data"]
                assert task["title"] == "of owner 3"
            with service.client(headers={"Authorization": "Bearer token"}) as client:
                assert client.get("/api/v1/changes", params={"after": str(life.late)}).status_code == 410
                assert client.get("/api/v1/changes", params={"after": str(now)}).json()["data"]["items"] == []
        finally:
            service.stop()
