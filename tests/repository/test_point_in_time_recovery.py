"""A database restored to a moment, with the commands of docs/backups.md: the tasks are those of then, and no cursor
misses anything."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from taskapi.cursors import Cursor
from taskapi.database.database import Database
from taskapi.errors import CursorGone
from taskapi.identity import Identity
from taskapi.migrations import prepare_schema
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.settings import Settings
from tests.support.documented import follow, recipe
from tests.support.folders import short_folder
from tests.support.migrating import run
from tests.support.owners import secured
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of, tasks_of
from tests.support.waiting import wait_until
from tests.support.writers import Statements

OWNERS = ("default", "quiet", "ann")


@dataclass(frozen=True)
class OldLife:
    """What is known of the life that has ended: the list and the entries as of the moment of the recovery, and cursors.

    `before` is from before the moment, `at` from that moment. `crossing` has seen a transaction that was lost, and as
    its newest entry one that was not. `end` is from the end. `quiet_end` is, too, of an owner who has lost nothing.
    """

    moment: datetime
    tasks: bytes
    entries: list[str]
    before: Cursor
    at: Cursor
    crossing: Cursor
    end: Cursor
    quiet_end: Cursor
    folder: Path
    user: Identity


def repository_of(server: Server) -> Repository:
    return Repository(Database(Settings(database_url=server.embedded.url, db_connections=2)))


def entries_of(repository: Repository, after: Cursor | None) -> list[str]:
    """The ids of all entries after the cursor."""
    page = repository.list_changes(after=after, limit=1000)
    ids = [orjson.loads(item)["history_id"] for item in page.items]
    return ids + entries_of(repository, page.cursor) if page.has_more else ids


def position_of(sql: Sql, owner: str = "default") -> Cursor:
    return Cursor.of_position(sql.value("SELECT position_now(%s)", (owner,)))


def archiving(folder: Path) -> dict[str, str]:
    """The settings that the page gives, for this folder of backups."""
    lines = recipe("Point-in-time recovery", 0, _backup=f"{folder}").splitlines()
    return {name: shlex.split(value)[0] for name, _, value in (line.partition(" = ") for line in lines)}


@pytest.fixture(scope="module")
def old_life() -> Iterator[OldLife]:
    with short_folder() as folder:
        server = Server(folder / "old")
        backups = folder / "backup"
        for needed in (backups, backups / "wal"):
            needed.mkdir()
            needed.chmod(0o777)
        server.embedded.start({**archiving(backups), "autovacuum": "off"})
        try:
            prepare_schema(Settings(database_url=server.embedded.url))
            yield live(server, backups)
        finally:
            server.stop()


def live(server: Server, backups: Path) -> OldLife:
    """A base backup, some changes, the moment, and then the mistake: a client deletes everything."""
    repository, url = repository_of(server), server.embedded.url
    with Sql(url) as sql, Sql(url) as slow:
        tasks = [id_of(repository.create_task(title=f"Task {n}", description=None)) for n in range(12)]
        for owner in OWNERS[1:]:
            repository.of(owner).create_task(title=f"of {owner}", description=None)
        follow(recipe("Point-in-time recovery", 1, _backup=f"{backups}"), DATABASE_URL=url)
        repository.set_tasks_completed(task_ids=tasks[:6], is_completed=True)
        before = position_of(sql)
        repository.delete_task(task_id=tasks[0])
        # It has its number, which is smaller than that of the newest entry, and is under way at the moment.
        slow.execute("BEGIN")
        slow.execute("SELECT pg_current_xact_id()")
        repository.update_task(task_id=tasks[1], changes={"title": "the newest"}, idempotency_key="kept")
        at, moment = position_of(sql), sql.value("SELECT clock_timestamp()")
        entries = entries_of(repository, None)
        Repository(Statements(slow)).create_task(title="lost", description=None)
        slow.execute("COMMIT")
        crossing = position_of(sql)
        repository.update_task(task_id=tasks[2], changes={"title": "lost"}, idempotency_key="lost")
        repository.delete_tasks(task_ids=tasks[1:], origin=Origin("agent", "request", "mistake"))
        end, quiet_end = position_of(sql), position_of(sql, "quiet")
        then, _ = repository.list_tasks_as_of(as_of=moment, limit=1000)
        last = sql.value("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until((backups / "wal" / last).exists, "the log is in the archive")
    return OldLife(moment, then, entries, before, at, crossing, end, quiet_end, backups, server.embedded._identity)


@pytest.fixture
def recovered(old_life: OldLife) -> Iterator[Server]:
    """The server after the recovery, which does not know yet that it is another life."""
    with short_folder() as folder:
        server = Server(folder / "new")
        server.embedded.folder.mkdir()
        commands = recipe(
            "Point-in-time recovery",
            2,
            _backup=f"{old_life.folder}",
            _var_lib_postgresql_restored=server.embedded.data,
            **{"2026_11_26 14_05_00_00": old_life.moment.isoformat()},
        )
        follow(commands)
        old_life.user.own(server.embedded.data)
        server.embedded.start({"autovacuum": "off"})
        try:
            with Sql(server.embedded.url) as sql:
                wait_until(lambda: not sql.value("SELECT pg_is_in_recovery()"), "the recovery is over")
            yield server
        finally:
            server.stop()


def test_the_tasks_are_those_of_the_moment(old_life: OldLife, recovered: Server) -> None:
    """The same, to the letter, as the old life said of that moment. Nobody but the tables' owner knows of a new one."""
    repository = repository_of(recovered)
    done = follow(recipe("Point-in-time recovery", 3), DATABASE_URL=recovered.embedded.url)
    assert "All cursors and tags that tell of an entry have ended" in done
    assert run("taskapi.repair", "--check", url=recovered.embedded.url).returncode == 0
    assert orjson.loads(repository.list_tasks().tasks or b"") == orjson.loads(old_life.tasks)
    assert len(tasks_of(repository.list_tasks())) == 11
    assert entries_of(repository, None) == old_life.entries
    # Of a write that was lost, the key is free again; of one that was not, it is not.
    tasks = {task["title"]: task["id"] for task in tasks_of(repository.list_tasks())}
    again = repository.update_task(task_id=tasks["the newest"], changes={"title": "the newest"}, idempotency_key="kept")
    assert again.replayed
    assert not repository.update_task(task_id=tasks["Task 2"], changes={"title": "x"}, idempotency_key="lost").replayed


def test_a_cursor_goes_on_without_a_gap_or_is_gone(old_life: OldLife, recovered: Server) -> None:
    """Also where the new life has written more than the old one, and has given its numbers away again."""
    repository = repository_of(recovered)
    with Sql(recovered.embedded.url) as sql:
        assert entries_of(repository, old_life.before) == old_life.entries[-2:]
        assert entries_of(repository, old_life.at) == []
        xmax = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        for number in range(3):
            # While the new life has written less than the old one, and when it has written more.
            repository.of("ann").create_task(title=f"new {number}", description=None)
            with pytest.raises(CursorGone):
                repository.list_changes(after=old_life.end, limit=10)
            while number and sql.value(xmax) < old_life.end.upto.xmax:
                sql.execute("SELECT pg_current_xact_id()")
        repository.create_task(title="newer", description=None)
        new = entries_of(repository, None)[len(old_life.entries) :]
        with pytest.raises(CursorGone):
            repository.list_changes(after=old_life.end, limit=10)
        assert entries_of(repository, old_life.before) == [*old_life.entries[-2:], *new]
        assert entries_of(repository, old_life.at) == new
        # Who has lost nothing, and has written nothing among the numbers that were given away again, goes on.
        assert entries_of(repository.of("quiet"), old_life.quiet_end) == []
        repository.of("quiet").create_task(title="new", description=None)
        assert len(entries_of(repository.of("quiet"), old_life.quiet_end)) == 1


def test_the_numbers_of_the_lost_life_are_found_out_for_each_owner(old_life: OldLife, recovered: Server) -> None:
    """An owner who had lost nothing, and writes among the numbers that the cursor takes for seen."""
    repository = repository_of(recovered)
    repository.of("quiet").create_task(title="would be skipped", description=None)
    with Sql(recovered.embedded.url) as sql:
        sql.execute("DO $$ BEGIN FOR n IN 1..1000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    with pytest.raises(CursorGone):
        repository.of("quiet").list_changes(after=old_life.quiet_end, limit=10)


def test_after_the_last_step_every_cursor_and_every_tag_is_gone(old_life: OldLife, recovered: Server) -> None:
    """The cursor whose newest entry is not lost looks right until then: its client keeps a task that is gone."""
    repository, url = repository_of(recovered), recovered.embedded.url
    assert "lost" not in {task["title"] for task in tasks_of(repository.list_tasks())}
    assert entries_of(repository, old_life.crossing) == []
    tag = repository.list_tasks().position or ""
    assert repository.list_tasks(known=[tag]).tasks is None
    for _ in range(2):
        now = repository.list_changes(after=None, limit=1000).cursor
        done = run("taskapi.repair", "--end-cursors", url=url)
        assert (done.returncode, done.stdout) == (
            0,
            "The history and the totals are right.\n"
            "All cursors and tags that tell of an entry have ended: their clients read the list anew.\n",
        )
        for cursor in (old_life.before, old_life.at, old_life.crossing, old_life.end, now):
            with pytest.raises(CursorGone):
                repository.list_changes(after=cursor, limit=10)
        assert repository.list_tasks(known=[tag]).tasks is not None
    # A cursor of the new life goes on, and a list is unchanged where nothing is new.
    now = repository.list_changes(after=None, limit=3).cursor
    assert entries_of(repository, now) == old_life.entries[3:]
    assert repository.list_tasks(known=[repository.list_tasks().position or ""]).tasks is None


def test_only_the_tables_owner_ends_cursors(database_url: str) -> None:
    done = run("taskapi.repair", "--end-cursors", url=secured(database_url))
    assert done.returncode == 1
    assert "Only the tables' owner" in done.stderr
