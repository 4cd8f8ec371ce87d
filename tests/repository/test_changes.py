"""The changes, page by page; cursors that go on, and those of another database or of a time that is lost."""

import random
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from taskapi.cursors import Cursor, Snapshot
from taskapi.database.database import Database
from taskapi.errors import CursorGone
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.changes import Changes
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.folders import short_folder
from tests.support.migrating import program, psql, run
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of

FIELDS = [
    "history_id",
    "task_id",
    "version",
    "action_type",
    "description",
    "timestamp",
    "actor",
    "request_id",
    "change_set",
    "task",
]


def pages(repository: Repository, after: Cursor | None, limit: int) -> list[Changes]:
    """Every page after the cursor."""
    found = [repository.list_changes(after=after, limit=limit)]
    while found[-1].has_more:
        found.append(repository.list_changes(after=found[-1].cursor, limit=limit))
    return found


def items_of(found: list[Changes]) -> list[dict[str, Any]]:
    return [orjson.loads(item) for page in found for item in page.items]


def position_of(sql: Sql) -> Cursor:
    return Cursor.of_position(sql.value("SELECT position_now('default')"))


def create_many(repository: Repository, count: int) -> None:
    repository.create_tasks(tasks=[{"title": f"Task {number}", "description": None} for number in range(count)])


def test_each_change_has_the_task_after_it(repository: Repository) -> None:
    created = repository.create_task(title="Buy", description=None, origin=Origin("ann", "request", "run"))
    task_id = id_of(created)
    completed = repository.set_task_completed(task_id=task_id, is_completed=True)
    repository.delete_task(task_id=task_id)
    (page,) = pages(repository, None, 10)
    items = items_of([page])
    assert [list(item) for item in items] == [FIELDS] * 3
    assert [(item["action_type"], item["version"]) for item in items] == [
        ("CREATED", 1),
        ("COMPLETED", 2),
        ("DELETED", 3),
    ]
    assert [item["task"] for item in items] == [task_of(created), task_of(completed), None]
    # To the letter, as the task itself was answered.
    assert created.task in page.items[0]
    assert {item["task_id"] for item in items} == {str(task_id)}
    assert [items[0][name] for name in ("actor", "request_id", "change_set")] == ["ann", "request", "run"]
    assert items[1]["timestamp"] == task_of(completed)["updated_at"]
    assert orjson.loads(page.json) == {"items": items, "cursor": str(page.cursor), "has_more": False}
    assert len(page.transactions) == 3


def test_an_empty_history(repository: Repository) -> None:
    page = repository.list_changes(after=None, limit=1)
    assert (page.items, page.has_more) == ((), False)
    assert repository.list_changes(after=page.cursor, limit=1).items == ()
    repository.create_task(title="first", description=None)
    assert len(repository.list_changes(after=page.cursor, limit=1).items) == 1


# Few changes are taken and sorted; from 1,001 on, the history is read from the oldest one on.
@pytest.mark.parametrize("count", [7, 1000, 1300])
@pytest.mark.parametrize("has_cursor", [True, False], ids=["after a cursor", "from the beginning"])
def test_pages_are_the_changes_in_order_each_once(
    repository: Repository, sql: Sql, count: int, has_cursor: bool
) -> None:
    create_many(repository, 5)
    after = position_of(sql) if has_cursor else None
    for _ in range(count // 100 or 1):
        create_many(repository, min(count, 100))
    if count > 1000:
        # It is older than all that the cursor has seen, and was committed later.
        with sql.without_triggers():
            sql.execute(
                "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
                " SELECT gen_random_uuid(), 'CREATED', 'late', timestamp - interval '1 day', 1, snapshot"
                " FROM task_history LIMIT 1"
            )
    expected = sql.rows("SELECT history_id::text FROM task_history ORDER BY timestamp, task_id")
    whole = items_of(pages(repository, after, 1000))
    assert len(whole) == len(expected) - (5 if has_cursor else 0)
    assert [(item["history_id"],) for item in whole][1:] == expected[-len(whole) + 1 :]
    for limit in (3, 100):
        if count / limit < 100:
            found = pages(repository, after, limit)
            assert items_of(found) == whole
            assert [len(page.items) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert len({page.cursor for page in found}) == len(found)


def test_a_batch_that_is_under_way_stays_as_it_is(repository: Repository, sql: Sql) -> None:
    """What is committed meanwhile comes behind it, however old its timestamp is."""
    after = position_of(sql)
    with Sql(sql.connection.dsn) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT pg_current_xact_id()")
        create_many(repository, 4)
        first = repository.list_changes(after=after, limit=2)
        with sql.without_triggers():
            sql.execute(
                "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
                " SELECT gen_random_uuid(), 'CREATED', 'late', timestamp - interval '1 day', 1, snapshot"
                " FROM task_history LIMIT 1"
            )
        slow.execute("COMMIT")
    second = repository.list_changes(after=first.cursor, limit=2)
    third = repository.list_changes(after=second.cursor, limit=2)
    assert [page.has_more for page in (first, second, third)] == [True, True, False]
    assert [len(page.items) for page in (first, second, third)] == [2, 2, 1]
    assert orjson.loads(third.items[0])["description"] == "late"


def test_a_transaction_that_was_in_progress_comes_once_when_it_is_over(repository: Repository, sql: Sql) -> None:
    with Sql(sql.connection.dsn) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT pg_current_xact_id()")
        create_many(repository, 1)
        seen = repository.list_changes(after=None, limit=10)
        assert len(seen.items) == 1
        slow.execute("SET LOCAL session_replication_role = replica")
        slow.execute(
            "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT gen_random_uuid(), 'CREATED', 'slow', timestamp - interval '1 minute', 1, snapshot"
            " FROM task_history"
        )
        create_many(repository, 1)
        between = repository.list_changes(after=seen.cursor, limit=10)
        slow.execute("COMMIT")
    after = repository.list_changes(after=between.cursor, limit=10)
    assert [len(page.items) for page in (between, after)] == [1, 1]
    assert orjson.loads(after.items[0])["description"] == "slow"
    assert repository.list_changes(after=after.cursor, limit=10).items == ()


# Cursors that do not go on


def test_a_cursor_of_another_database(repository: Repository, new_repository: NewRepository, new_database: Any) -> None:
    create_many(repository, 3)
    other = new_repository(new_database())
    create_many(other, 1)
    for limit in (1, 10):
        cursor = repository.list_changes(after=None, limit=limit).cursor
        with pytest.raises(CursorGone):
            other.list_changes(after=cursor, limit=10)


def test_a_cursor_of_the_future(repository: Repository) -> None:
    create_many(repository, 3)
    seen = repository.list_changes(after=None, limit=10).cursor
    later = Snapshot(seen.upto.xmax + 1000, seen.upto.xmax + 1000)
    with pytest.raises(CursorGone):
        repository.list_changes(after=Cursor(later, seen.newest), limit=10)


def test_a_cursor_of_another_owner_shows_nothing_of_theirs(repository: Repository, sql: Sql) -> None:
    create_many(repository, 3)
    with sql.without_triggers():
        sql.execute(
            "INSERT INTO task_history (owner, task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT 'ann', gen_random_uuid(), 'CREATED', 'of ann', timestamp, 1, snapshot FROM task_history"
        )
    theirs = Cursor.of_position(sql.value("SELECT position_now('ann')"))
    with pytest.raises(CursorGone):
        repository.list_changes(after=theirs, limit=10)
    of_nobody = Cursor.of_position(sql.value("SELECT position_now('nobody')"))
    create_many(repository, 1)
    with pytest.raises(CursorGone):
        repository.list_changes(after=of_nobody, limit=10)
    assert len(items_of(pages(repository, None, 2))) == 4


def test_after_a_restore_only_cursors_of_what_was_restored_go_on(
    repository: Repository, sql: Sql, empty_database_url: str, new_repository: NewRepository, tmp_path: Path
) -> None:
    create_many(repository, 3)
    dumped, inside = position_of(sql), repository.list_changes(after=None, limit=2).cursor
    program("pg_dump", "-Fc", "-f", str(tmp_path / "dump"), sql.connection.dsn)
    repository.create_task(title="lost", description=None)
    lost, lost_inside = position_of(sql), repository.list_changes(after=None, limit=2).cursor
    program("pg_restore", "-d", empty_database_url, str(tmp_path / "dump"))
    restored = new_repository(empty_database_url)
    for cursor in (lost, lost_inside):
        with pytest.raises(CursorGone):
            restored.list_changes(after=cursor, limit=10)
    assert len(restored.list_changes(after=inside, limit=10).items) == 1
    restored.create_task(title="new", description=None)
    assert [item["description"] for item in items_of(pages(restored, dumped, 10))] == ["title: 'new'"]
    with pytest.raises(CursorGone):
        restored.list_changes(after=lost, limit=10)


def test_after_a_repair_old_cursors_do_not_go_on(repository: Repository, database_url: str, sql: Sql) -> None:
    """A dump in a younger cluster: repair renumbers the entries."""
    create_many(repository, 3)
    with short_folder() as folder:
        young = Server(folder / "pg")
        young.start()
        try:
            # The cluster of the tests may be as young.
            sql.execute("DO $$ BEGIN FOR n IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
            create_many(repository, 3)
            old = [position_of(sql), repository.list_changes(after=None, limit=2).cursor]
            dump = program("pg_dump", "--no-privileges", database_url)
            with young.database() as name:
                url = young.url(name)
                psql(url, dump)
                assert run("taskapi.repair", url=url).returncode == 0
                restored = Repository(Database(Settings(database_url=url)))
                for cursor in old:
                    with pytest.raises(CursorGone):
                        restored.list_changes(after=cursor, limit=10)
                assert len(items_of(pages(restored, None, 4))) == 6
        finally:
            young.stop()


# What is no cursor


def test_postgres_takes_whatever_a_cursor_can_be(repository: Repository, sql: Sql) -> None:
    """Else it would raise an error. Here are cursors with one character changed, of which many are none any more."""
    create_many(repository, 3)
    chance, taken = random.Random(11), 0
    inside = repository.list_changes(after=None, limit=2).cursor
    for cursor in (position_of(sql), inside, Cursor(Snapshot(731, 800, (731, 735, 799)), str(uuid4()), inside.place)):
        for _ in range(150):
            text = bytearray(_decoded(str(cursor)))
            text[chance.randrange(len(text))] = ord(chance.choice(string.digits + ":,/-TZabc"))
            try:
                changed = Cursor.parse(urlsafe_b64encode(text).decode().rstrip("="))
            except ValueError:
                continue
            taken += 1
            try:
                repository.list_changes(after=changed, limit=2)
            except CursorGone:
                continue
    assert taken > 50


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
