"""The one exception to append-only: the owner of the tables erases a deleted task's texts, and nothing else changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg2
import pytest

from taskapi import erase, reconcile
from taskapi.errors import IdempotencyKeyReused, UndoConflict
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.undo import Chosen
from tests.support.migrating import run
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of
from tests.support.waiting import wait_until

SECRET = "Dr. Meier"
"""In each text of the task that is erased, and of another one that is not."""

ORIGIN = Origin("ann", "request-1", "run-1")
KEPT = "history_id, owner, task_id, action_type, timestamp, version, actor, request_id, change_set, transaction_id,"
KEPT += " idempotency_key, request_digest, request_entry, snapshot - '{title,description}'::text[]"

RESTORED_SQL = """
INSERT INTO tasks (id, title, description, created_at, updated_at, version)
SELECT
    task_id, snapshot ->> 'title', snapshot ->> 'description', (snapshot ->> 'created_at')::timestamptz,
    clock_timestamp(), version + 1
FROM (SELECT * FROM task_history WHERE task_id = %(id)s ORDER BY version DESC LIMIT 1) AS last
"""

RESTORED_ENTRY_SQL = """
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT id, 'RESTORED', 'undo: by hand', updated_at, version, to_jsonb(answer(tasks))
FROM tasks
WHERE id = %(id)s
"""


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


def write(repository: Repository, key: str = "") -> UUID:
    """A task with texts everywhere, also in the requests that are kept for their keys; deleted."""
    task_id = id_of(
        repository.create_task(title=f"Call {SECRET}", description=None, origin=ORIGIN, idempotency_key=f"{key}1")
    )
    repository.update_task(
        task_id=task_id, changes={"description": f"{SECRET} knows"}, origin=ORIGIN, idempotency_key=f"{key}2"
    )
    repository.update_task(task_id=task_id, changes={"title": f"Meet {SECRET}"})
    repository.set_task_completed(task_id=task_id, is_completed=True, idempotency_key=f"{key}4")
    repository.delete_task(task_id=task_id, origin=ORIGIN, idempotency_key=f"{key}5")
    return task_id


@pytest.fixture
def deleted_id(repository: Repository) -> UUID:
    """Another one with the same texts is not to be erased."""
    write(repository, "other")
    return write(repository)


def erased(url: str, task_id: UUID, **options: Any) -> str:
    connection = psycopg2.connect(url)
    try:
        return erase.erase(connection, task_id, **options)
    finally:
        connection.close()


def found_in(sql: Sql, text: str) -> set[UUID]:
    """The tasks in whose entries the text is, wherever it is."""
    rows = sql.rows("SELECT DISTINCT task_id FROM task_history WHERE strpos(task_history::text, %s) > 0", (text,))
    return {UUID(row[0]) for row in rows}


def faults(url: str) -> list[str]:
    connection = psycopg2.connect(url)
    try:
        return reconcile.reconcile(connection).faults
    finally:
        connection.close()


# What is erased, and what stays


def test_no_text_is_left(deleted_id: UUID, database_url: str, repository: Repository, sql: Sql) -> None:
    of_others = f"SELECT * FROM task_history WHERE task_id <> '{deleted_id}' ORDER BY timestamp"
    kept = f"SELECT {KEPT} FROM task_history ORDER BY timestamp"
    others, before, stats = sql.rows(of_others), sql.rows(kept), repository.weekly_stats()
    assert deleted_id in found_in(sql, SECRET)
    erased(database_url, deleted_id)
    assert deleted_id not in found_in(sql, SECRET)
    assert (sql.rows(of_others), sql.rows(kept), repository.weekly_stats()) == (others, before, stats)
    texts = sql.rows(
        "SELECT snapshot ->> 'title', snapshot ->> 'description' FROM task_history WHERE task_id = %s ORDER BY version",
        (str(deleted_id),),
    )
    assert texts == [("[erased]", None), *[("[erased]", "[erased]")] * 4]


def test_each_entry_says_when(deleted_id: UUID, database_url: str, repository: Repository, sql: Sql) -> None:
    said = erased(database_url, deleted_id)
    now = sql.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI')")
    _, items = repository.list_history(task_id=deleted_id, action_type=None, limit=10, offset=0)
    entries = orjson.loads(items)
    (description,) = {entry["description"] for entry in entries}
    moment = description.removeprefix("erased ")
    assert moment[:13] == now[:13]
    assert {entry["task_title"] for entry in entries} == {"[erased]"}
    assert said == f"The texts of task {deleted_id} of default are erased: 5 entries, {moment}, by the role taskapi."


def test_the_history_stays_true(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    erased(database_url, deleted_id)
    assert faults(database_url) == []
    assert_replay_equals_tasks(sql)


def test_repeated_requests_are_still_known(deleted_id: UUID, database_url: str, repository: Repository) -> None:
    """They are answered without the texts, and write nothing."""
    bulk = [{"title": f"One for {SECRET}", "description": None}, {"title": "Two", "description": None}]
    ids = [UUID(task["id"]) for task in orjson.loads(repository.create_tasks(tasks=bulk, idempotency_key="bulk").tasks)]
    repository.delete_task(task_id=ids[0])
    for task_id in (deleted_id, ids[0]):
        erased(database_url, task_id)
    answers = [
        repository.create_task(title=f"Call {SECRET}", description=None, idempotency_key="1"),
        repository.update_task(task_id=deleted_id, changes={"description": f"{SECRET} knows"}, idempotency_key="2"),
        repository.set_task_completed(task_id=deleted_id, is_completed=True, idempotency_key="4"),
        repository.delete_task(task_id=deleted_id, idempotency_key="5"),
    ]
    assert [(answer.replayed, answer.version) for answer in answers] == [(True, 1), (True, 2), (True, 4), (True, 5)]
    assert {task_of(answer)["title"] for answer in answers} == {"[erased]"}
    again = repository.create_tasks(tasks=bulk, idempotency_key="bulk")
    assert again.replayed
    assert [task["title"] for task in orjson.loads(again.tasks)] == ["[erased]", "Two"]
    with pytest.raises(IdempotencyKeyReused):
        repository.create_task(title="Another", description=None, idempotency_key="1")
    assert faults(database_url) == []


def test_again_is_nothing(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    erased(database_url, deleted_id)
    everything = "SELECT *, xmin FROM task_history ORDER BY timestamp"
    before = sql.rows(everything)
    assert erased(database_url, deleted_id) == f"The texts of task {deleted_id} of default are erased already."
    assert sql.rows(everything) == before


def test_of_one_owner(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    with sql.without_triggers():
        sql.execute(
            "INSERT INTO task_history (owner, task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT 'ann', task_id, action_type, description, timestamp, version, snapshot FROM task_history"
        )
    assert "of ann are erased" in erased(database_url, deleted_id, owner="ann")
    assert sql.rows(
        "SELECT owner, bool_and(is_erased(task_history)) FROM task_history WHERE task_id = %s GROUP BY 1 ORDER BY 1",
        (str(deleted_id),),
    ) == [("ann", True), ("default", False)]


# What is refused


def refused(url: str, task_id: UUID, sentence: str) -> None:
    with Sql(url) as sql:
        everything = "SELECT *, xmin FROM task_history ORDER BY timestamp"
        before = sql.rows(everything)
        with pytest.raises(erase.Refused, match=sentence):
            erased(url, task_id)
        assert sql.rows(everything) == before


def test_a_task_that_is_there(database_url: str, repository: Repository) -> None:
    task_id = id_of(repository.create_task(title=SECRET, description=None))
    refused(database_url, task_id, f"Task {task_id} of default is there: delete it first. Nothing was erased.")


def test_a_task_that_never_was(deleted_id: UUID, database_url: str) -> None:
    task_id = uuid4()
    refused(database_url, task_id, f"Task {task_id} of default has no history. Nothing was erased.")


def stays_append_only(sql: Sql) -> None:
    with pytest.raises(psycopg2.errors.RestrictViolation, match="the history is append-only"):
        sql.execute("UPDATE task_history SET description = 'another'")


def test_afterwards_the_history_is_append_only(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    erased(database_url, deleted_id)
    stays_append_only(sql)


def test_so_it_is_after_a_failure(
    deleted_id: UUID, database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase, "ERASE_SQL", erase.ERASE_SQL.replace("SET description", "SET nothing"))
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        erased(database_url, deleted_id)
    stays_append_only(sql)
    assert deleted_id in found_in(sql, SECRET)


# An erased task does not return


def test_nobody_restores_it(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    erased(database_url, deleted_id)
    sql.execute("BEGIN")
    assert sql.execute(RESTORED_SQL, {"id": str(deleted_id)}) == 1
    assert sql.execute(RESTORED_ENTRY_SQL, {"id": str(deleted_id)}) == 1
    with pytest.raises(psycopg2.errors.SerializationFailure, match="are erased: it does not return"):
        sql.execute("COMMIT")
    assert faults(database_url) == []


def test_no_undo_brings_it_back(deleted_id: UUID, database_url: str, repository: Repository, sql: Sql) -> None:
    erased(database_url, deleted_id)
    attempts: list[Callable[[], object]] = [
        lambda: repository.restore_task(task_id=deleted_id),
        lambda: repository.restore_task(task_id=deleted_id, version=1),
        lambda: repository.undo_change(task_id=deleted_id, version=5),
        lambda: repository.undo_change(task_id=deleted_id, version=3),
        lambda: repository.undo(chosen=Chosen(change_set="run-1")),
    ]
    for attempt in attempts:
        with pytest.raises(UndoConflict, match=f"task {deleted_id} has no texts any more since version 5"):
            attempt()
    others = repository.undo(chosen=Chosen(change_set="run-1"), skip_conflicts=True)
    assert [conflict["field"] for conflict in orjson.loads(others.conflicts)] == ["task"]
    assert faults(database_url) == []


def test_nor_does_one_who_has_read_its_texts_before(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    sql.execute("BEGIN")
    assert sql.execute(RESTORED_SQL, {"id": str(deleted_id)}) == 1
    erased(database_url, deleted_id)
    assert sql.execute(RESTORED_ENTRY_SQL, {"id": str(deleted_id)}) == 1
    with pytest.raises(psycopg2.errors.SerializationFailure):
        sql.execute("COMMIT")
    assert deleted_id not in found_in(sql, SECRET)


def test_a_restoration_under_way_comes_first(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as threads:
        with sql.transaction():
            sql.execute(RESTORED_SQL, {"id": str(deleted_id)})
            sql.execute(RESTORED_ENTRY_SQL, {"id": str(deleted_id)})
            waits = threads.submit(refused_in, database_url, deleted_id)
            with Sql(database_url) as other:
                wait_until(lambda: other.value(waiting) == 1, "the erasure waits for the restoration")
        assert waits.result() == f"Task {deleted_id} of default is there: delete it first. Nothing was erased."
    assert deleted_id in found_in(sql, SECRET)


def refused_in(url: str, task_id: UUID) -> str:
    with pytest.raises(erase.Refused) as refusal:
        erased(url, task_id)
    return str(refusal.value)


def test_other_restored_tasks_may_be_erased_once_they_are_deleted(
    deleted_id: UUID, database_url: str, repository: Repository, sql: Sql
) -> None:
    with sql.transaction():
        sql.execute(RESTORED_SQL, {"id": str(deleted_id)})
        sql.execute(RESTORED_ENTRY_SQL, {"id": str(deleted_id)})
    repository.delete_task(task_id=deleted_id)
    assert "are erased: 7 entries" in erased(database_url, deleted_id)
    assert faults(database_url) == []


# The command


def test_the_command(deleted_id: UUID, database_url: str, sql: Sql) -> None:
    done = run("taskapi.erase", str(deleted_id), url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"The texts of task {deleted_id} of default are erased: 5 entries, ")
    done = run("taskapi.erase", str(deleted_id), url=database_url)
    assert (done.returncode, done.stdout) == (0, f"The texts of task {deleted_id} of default are erased already.\n")
    assert deleted_id not in found_in(sql, SECRET)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nonsense"], 2, "invalid UUID value: 'nonsense'"),
        ([], 2, "give a TASK_ID, or --owner for all that an owner has"),
        ([str(UUID(int=0)), "--owner", ""], 2, "--owner: must be 1 to 255 printable characters"),
        ([str(UUID(int=0)), "--owner", "an\nn"], 2, "--owner: must be 1 to 255 printable characters"),
        ([str(UUID(int=0))], 1, "taskapi: Task 00000000-0000-0000-0000-000000000000 of default has no history."),
    ],
)
def test_what_it_refuses(arguments: list[str], code: int, sentence: str, database_url: str) -> None:
    done = run("taskapi.erase", *arguments, url=database_url)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr


def test_a_locked_history(
    deleted_id: UUID,
    database_url: str,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever waits for a lock makes all later writers wait, so it gives up."""
    monkeypatch.setattr(erase, "LOCK_TIMEOUT_SQL", "SET LOCAL lock_timeout = '50ms'")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr("sys.argv", ["erase", str(deleted_id)])
    with sql.transaction():
        sql.execute("LOCK TABLE task_history")
        assert erase.main() == 1
    assert capsys.readouterr().err == "taskapi: The history stayed locked. Nothing was erased; run this again.\n"
    assert deleted_id in found_in(sql, SECRET)


def test_somebody_who_is_not_the_owner(
    deleted_id: UUID, database_url: str, sql: Sql, new_role: Callable[[str], str]
) -> None:
    url = new_role(database_url)
    sql.execute("GRANT ALL ON tasks, task_history TO somebody")
    try:
        done = run("taskapi.erase", str(deleted_id), url=url)
    finally:
        sql.execute("REVOKE ALL ON tasks, task_history FROM somebody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: Only the owner of the tables may erase: use its DATABASE_URL.")
    assert deleted_id in found_in(sql, SECRET)


def test_no_password_is_printed(deleted_id: UUID, database_url: str) -> None:
    done = run("taskapi.erase", str(deleted_id), url=database_url.replace("taskapi@", "nobody:geheim@"))
    assert done.returncode == 1
    assert done.stderr.startswith("taskapi: Maybe nothing was erased; run this again: ")
    assert "geheim" not in done.stderr + done.stdout
