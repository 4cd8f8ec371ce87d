"""Erasing all that one owner has: the owner's tasks go, with all their texts, and nothing of anybody else changes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import UUID

import orjson
import psycopg2
import pytest

from taskapi import erase, reconcile
from taskapi.places import ROOT
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from tests.support.environment import environment_of
from tests.support.migrating import run
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of, tasks_of
from tests.support.waiting import wait_until

SECRET = "Dr. Meier"

ODD = [
    'O\'Brien "x" %s é',
    "--help",
    "-1",
    "x" * 255,
    "\U0001f98a" * 255,
    "%",
    "%%(owner)s",
    "\\",
    "{owner}",
    "Ann",
    "ann ",
    "NULL",
]
"""Names that somebody may have."""

NO_TASKS = dict.fromkeys(
    ("tasks_created_this_week", "tasks_completed_this_week", "total_completed", "total_incomplete", "total_tasks"), 0
)

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name"
OTHERS += " = 'taskapi-migrations'"

TABLES_SQL = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"

UNDER_WAY = """
WITH task AS (
    INSERT INTO tasks (owner, title, created_at, updated_at) VALUES ('ann', %s, now(), now()) RETURNING tasks
)
INSERT INTO task_history (owner, task_id, action_type, description, timestamp, version, snapshot)
SELECT 'ann', (tasks).id, 'CREATED', (tasks).title, (tasks).created_at, 1, to_jsonb(answer(tasks)) FROM task
"""


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


@pytest.fixture
def ann(repository: Repository) -> Repository:
    """Ann has three tasks and two deleted ones, with texts everywhere."""
    return with_tasks(repository.of("ann"))


@pytest.fixture
def bob(repository: Repository) -> Repository:
    """Bob has the same."""
    return with_tasks(repository.of("bob"))


def with_tasks(repository: Repository, key: str = "") -> Repository:
    origin = Origin("who", "request-1", "run-1")
    for number in range(5):
        task_id = id_of(
            repository.create_task(
                title=f"Call {SECRET}", description=SECRET, origin=origin, idempotency_key=f"{key}{number}"
            )
        )
        repository.update_task(task_id=task_id, changes={"title": f"Meet {SECRET}", "description": None})
        repository.set_task_completed(task_id=task_id, is_completed=bool(number % 2))
        if number > 2:
            repository.delete_task(task_id=task_id, origin=origin)
    return repository


def erased(url: str, owner: str = "ann") -> str:
    with closing(psycopg2.connect(url)) as connection:
        return erase.erase_owner(connection, owner)


def outcome(url: str) -> str:
    """What it says, whether it is done or not."""
    try:
        return erased(url)
    except erase.Refused as refusal:
        return str(refusal)


def rows_of(sql: Sql, owner: str) -> list[tuple[Any, ...]]:
    """All that an owner has, in whichever table, byte for byte, and when it was written."""
    with_owner = "SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
    with_owner += " WHERE attname = 'owner' AND relkind = 'r' ORDER BY 1"
    return [
        (table, *row)
        for (table,) in sql.rows(with_owner)
        for row in sql.rows(f"SELECT row::text, xmin FROM {table} AS row WHERE owner = %s ORDER BY 1", (owner,))
    ]


def left(sql: Sql, owner: str = "ann") -> dict[str, int]:
    """In how many rows of which tables a text of the owner is."""
    text = "SELECT count(*) FROM {} AS row WHERE strpos(row::text, %s) > 0 AND to_jsonb(row) ->> 'owner' = %s"
    counts = {table: sql.value(text.format(table), (SECRET, owner)) for (table,) in sql.rows(TABLES_SQL)}
    return {table: count for table, count in counts.items() if count}


def faults(url: str) -> list[str]:
    with closing(psycopg2.connect(url)) as connection:
        return reconcile.reconcile(connection).faults


def stays_append_only(sql: Sql) -> None:
    with pytest.raises(psycopg2.errors.RestrictViolation, match="the history is append-only"):
        sql.execute("UPDATE task_history SET description = 'another'")


# What is erased, and what stays


def test_no_text_is_left_in_any_table(ann: Repository, bob: Repository, database_url: str, sql: Sql) -> None:
    of_bob = rows_of(sql, "bob")
    assert left(sql) == {"tasks": 3, "task_history": 14}
    done = run("taskapi.erase", "--owner", "ann", url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(sql) == {}
    assert rows_of(sql, "bob") == of_bob
    assert left(sql, "bob") == {"tasks": 3, "task_history": 14}
    assert sql.value("SELECT count(*) FROM tasks WHERE owner = 'ann'") == 0
    stays_append_only(sql)


def test_what_it_says(ann: Repository, database_url: str) -> None:
    said = erased(database_url)
    assert said.startswith("The texts of ann are erased: 5 tasks, of which 3 were deleted now, 17 entries, 2")
    assert said.endswith("Z, by the role taskapi.")


def test_what_happened_stays(ann: Repository, bob: Repository, database_url: str, sql: Sql) -> None:
    kept = (
        "SELECT task_id, version, action_type, timestamp, actor, request_id, change_set, transaction_id,"
        " idempotency_key, request_digest FROM task_history WHERE owner = 'ann' ORDER BY task_id, version"
    )
    before = sql.rows(kept)
    erased(database_url)
    after = sql.rows(kept)
    assert set(before) < set(after)
    assert {row[2] for row in set(after) - set(before)} == {"DELETED"}
    again = ann.create_task(title=f"Call {SECRET}", description=SECRET, idempotency_key="0")
    assert again.replayed
    assert orjson.loads(again.task)["title"] == "[erased]"


@pytest.mark.parametrize("is_folded", [True, False])
def test_history_and_totals_stay_true(
    is_folded: bool, ann: Repository, bob: Repository, database_url: str, sql: Sql
) -> None:
    if is_folded:
        assert run("taskapi.repair", url=database_url).returncode == 0
    of_bob = bob.weekly_stats()
    erased(database_url)
    done = run("taskapi.reconcile", url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert_replay_equals_tasks(sql)
    of_ann = orjson.loads(ann.weekly_stats())
    assert {name: of_ann[name] for name in of_ann if name.startswith("t")} == NO_TASKS
    assert bob.weekly_stats() == of_bob
    assert tasks_of(ann.list_tasks()) == []
    assert ann.list_history(task_id=None, action_type=None, limit=1, offset=0)[0] == 17


def test_again_is_nothing(ann: Repository, bob: Repository, database_url: str, sql: Sql) -> None:
    erased(database_url)
    before = rows_of(sql, "ann"), rows_of(sql, "bob")
    done = run("taskapi.erase", "--owner", "ann", url=database_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The texts of ann are erased already.\n", "")
    assert (rows_of(sql, "ann"), rows_of(sql, "bob")) == before


def test_what_is_new_is_erased_by_another_run(ann: Repository, database_url: str, sql: Sql) -> None:
    erased(database_url)
    ann.create_task(title=SECRET, description=None)
    assert "are erased: 1 tasks, of which 1 were deleted now, 2 entries" in erased(database_url)
    assert left(sql) == {}


@pytest.mark.parametrize("batch", [1, 2, 5, 6])
@pytest.mark.usefixtures("ann", "bob")
def test_in_batches(batch: int, database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase, "BATCH", batch)
    of_bob = rows_of(sql, "bob")
    assert "5 tasks, of which 3 were deleted now, 17 entries" in erased(database_url)
    assert left(sql) == {}
    assert rows_of(sql, "bob") == of_bob
    assert faults(database_url) == []


@pytest.mark.parametrize("owner", ODD)
def test_odd_names(owner: str, ann: Repository, repository: Repository, database_url: str, sql: Sql) -> None:
    before = rows_of(sql, "ann")
    repository.of(owner).create_task(title=SECRET, description=SECRET)
    assert erased(database_url, owner).startswith(f"The texts of {owner} are erased: 1 tasks, ")
    assert left(sql, owner) == {}
    assert rows_of(sql, "ann") == before


def test_an_odd_name_for_the_command(repository: Repository, database_url: str, sql: Sql) -> None:
    owner = "--help 'x' \"y\" %s é"
    repository.of(owner).create_task(title=SECRET, description=SECRET)
    done = run("taskapi.erase", f"--owner={owner}", url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"The texts of {owner} are erased: 1 tasks, ")
    assert left(sql, owner) == {}


def test_of_the_owner_without_sign_in(ann: Repository, repository: Repository, database_url: str, sql: Sql) -> None:
    with_tasks(repository)
    before = rows_of(sql, "ann")
    assert "The texts of default are erased: 5 tasks" in erased(database_url, "default")
    assert left(sql, "default") == {}
    assert rows_of(sql, "ann") == before


def test_one_task_of_an_owner(ann: Repository, bob: Repository, database_url: str, sql: Sql) -> None:
    """With both, it is about that task, and about no other owner's."""
    (task_id,) = sql.rows(
        "SELECT task_id FROM task_history WHERE owner = 'ann' AND action_type = 'DELETED' ORDER BY version LIMIT 1"
    )[0]
    done = run("taskapi.erase", task_id, "--owner", "bob", url=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"taskapi: Task {task_id} of bob has no history. Nothing was erased.\n"
    assert left(sql) == {"tasks": 3, "task_history": 14}
    assert run("taskapi.erase", task_id, "--owner", "ann", url=database_url).returncode == 0
    assert left(sql) == {"tasks": 3, "task_history": 11}


# While others write


def test_a_creation_under_way_is_waited_for(ann: Repository, database_url: str, sql: Sql) -> None:
    with ThreadPoolExecutor() as threads, Sql(database_url) as other:
        with sql.transaction():
            sql.execute(UNDER_WAY, (SECRET,))
            waits = threads.submit(erased, database_url)
            wait_until(lambda: other.value(WAITING) == 1, "the erasure waits for the creation")
        assert "6 tasks, of which 4 were deleted now" in waits.result()
    assert left(sql) == {}


def test_an_owner_who_goes_on_writing(
    ann: Repository, bob: Repository, database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends all the same, and what was there when it began is gone."""
    monkeypatch.setattr(erase, "BATCH", 2)
    before = {row[0] for row in sql.rows("SELECT task_id FROM task_history WHERE owner = 'ann'")}
    of_bob, over, writes = rows_of(sql, "bob"), threading.Event(), threading.Semaphore(0)

    def write(repository: Repository) -> None:
        while not over.is_set():
            repository.create_task(title=SECRET, description=None)
            writes.release()

    with ThreadPoolExecutor() as threads:
        writers = [threads.submit(write, ann) for _ in range(2)]
        try:
            assert writes.acquire(timeout=30)
            said = outcome(database_url)
        finally:
            over.set()
        for writer in writers:
            writer.result()
    assert said.startswith("The texts of ann are erased: ")
    texts = sql.rows("SELECT task_id FROM task_history WHERE owner = 'ann' AND NOT is_erased(task_history)")
    assert not before & {row[0] for row in texts}
    assert rows_of(sql, "bob") == of_bob
    assert faults(database_url) == []
    assert "The texts of ann are erased" in erased(database_url)
    assert left(sql) == {}


def test_what_came_meanwhile_is_told(ann: Repository, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase, "LIMITS_SQL", UNDER_WAY.replace("%s", "'just now'"))
    then = "Not those that came meanwhile: end this owner's access, then run this again."
    said = outcome(database_url)
    assert said.startswith("The texts of ann are erased: 5 tasks, ")
    assert said.endswith(f", by the role taskapi. {then}")
    assert outcome(database_url) == f"The texts of ann are erased already. {then}"


def test_somebody_who_deletes_meanwhile(ann: Repository, database_url: str, sql: Sql) -> None:
    ids = [UUID(task["id"]) for task in tasks_of(ann.list_tasks())]
    with ThreadPoolExecutor() as threads:
        deletion = threads.submit(lambda: [ann.delete_task(task_id=task_id) for task_id in reversed(ids)])
        erased(database_url)
        deletion.exception()
    erased(database_url)
    assert left(sql) == {}
    assert faults(database_url) == []


# What is refused, and what fails in the middle


def test_nobody_of_that_name(ann: Repository, database_url: str, sql: Sql) -> None:
    done = run("taskapi.erase", "--owner", "an", url=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "taskapi: There is nothing of an. Nothing was erased.\n"
    assert left(sql) == {"tasks": 3, "task_history": 14}


@pytest.mark.parametrize("owner", ["", "an\nn", "x" * 256, "\udcff"])
def test_what_is_no_name(owner: str, ann: Repository, database_url: str, sql: Sql) -> None:
    done = run("taskapi.erase", "--owner", owner, url=database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: argument --owner: must be 1 to 255 printable characters\n")


ONLY_OWNER = "taskapi: Only the owner of the tables may erase: use its DATABASE_URL. Nothing was erased.\n"


def test_a_role_that_may_write_everything(
    ann: Repository, database_url: str, sql: Sql, new_role: Callable[[str], str]
) -> None:
    """It could delete the tasks, and not erase them."""
    url, before = new_role(database_url), rows_of(sql, "ann")
    sql.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO somebody")
    try:
        done = run("taskapi.erase", "--owner", "ann", url=url)
    finally:
        sql.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM somebody")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", ONLY_OWNER)
    assert rows_of(sql, "ann") == before


@pytest.fixture
def owner_url(database_url: str, sql: Sql, new_role: Callable[[str], str]) -> Iterator[str]:
    """The URL of an owner of the tables who is no superuser."""
    url = new_role(database_url)
    sql.execute("ALTER TABLE tasks OWNER TO somebody; ALTER TABLE task_history OWNER TO somebody")
    sql.execute("GRANT SELECT ON taskapi_version TO somebody")
    yield url
    sql.execute("REASSIGN OWNED BY somebody TO taskapi; DROP OWNED BY somebody")


def test_where_the_owner_does_not_see_all(ann: Repository, owner_url: str, sql: Sql) -> None:
    """It must not say that there is nothing."""
    forced = "ALTER TABLE task_history {} ROW LEVEL SECURITY, {} ROW LEVEL SECURITY"
    sql.execute(forced.format("ENABLE", "FORCE"))
    try:
        done = run("taskapi.erase", "--owner", "ann", url=owner_url)
    finally:
        sql.execute(forced.format("DISABLE", "NO FORCE"))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", ONLY_OWNER)
    assert left(sql) == {"tasks": 3, "task_history": 14}
    assert run("taskapi.erase", "--owner", "ann", url=owner_url).returncode == 0
    assert left(sql) == {}


@pytest.mark.parametrize("version", ["0015", "9999"])
def test_another_schema(version: str, ann: Repository, database_url: str, sql: Sql) -> None:
    now, before = sql.value("SELECT version_num FROM taskapi_version"), rows_of(sql, "ann")
    sql.execute("UPDATE taskapi_version SET version_num = %s", (version,))
    try:
        done = run("taskapi.erase", "--owner", "ann", url=database_url)
    finally:
        sql.execute("UPDATE taskapi_version SET version_num = %s", (now,))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "taskapi: The database's schema is not this version's: run `AUTO_MIGRATE=true python -m taskapi.migrations`"
        " first. Nothing was erased.\n"
    )
    assert rows_of(sql, "ann") == before


def test_no_password_is_printed(database_url: str) -> None:
    done = run("taskapi.erase", "--owner", "ann", url=database_url.replace("taskapi@", "nobody:geheim@"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: Maybe not all was erased; run this again: ")
    assert "geheim" not in done.stderr


def test_a_failure_leaves_a_batch_as_it_was(
    ann: Repository, database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(sql, "ann")
    monkeypatch.setattr(erase, "ERASE_SQL", erase.ERASE_SQL.replace("SET description", "SET nothing"))
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        erased(database_url)
    stays_append_only(sql)
    assert rows_of(sql, "ann") == before


@pytest.mark.usefixtures("ann", "bob")
def test_it_goes_on_where_it_was(
    database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_bob = rows_of(sql, "bob")
    (last,) = sql.rows("SELECT id FROM tasks WHERE owner = 'ann' ORDER BY id DESC LIMIT 1")[0]
    monkeypatch.setattr(erase, "LOCK_TIMEOUT_SQL", "SET LOCAL lock_timeout = '50ms'")
    monkeypatch.setattr(erase, "BATCH", 1)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr("sys.argv", ["erase", "--owner", "ann"])
    with sql.transaction():
        sql.execute("SELECT FROM tasks WHERE owner = 'ann' AND id = %s FOR UPDATE", (last,))
        assert erase.main() == 1
    printed = capsys.readouterr()
    assert printed.err == "taskapi: The history stayed locked. Not all was erased; run this again.\n"
    assert left(sql)["tasks"] == 1
    with_texts = "SELECT DISTINCT task_id FROM task_history WHERE owner = 'ann' AND NOT is_erased(task_history)"
    assert (last,) in sql.rows(with_texts)
    assert all(task_id >= last for (task_id,) in sql.rows(with_texts))
    stays_append_only(sql)
    assert faults(database_url) == []
    assert erase.main() == 0
    assert ", of which 1 were deleted now, " in capsys.readouterr().out
    assert left(sql) == {}
    assert rows_of(sql, "bob") == of_bob


def test_killed_in_the_middle(ann: Repository, database_url: str, sql: Sql) -> None:
    """While it is about to delete: what it had done of the batch is undone."""
    before = rows_of(sql, "ann")
    command = [sys.executable, "-m", "taskapi.erase", "--owner", "ann"]
    with Sql(database_url) as other, sql.transaction():
        sql.execute("SELECT FROM tasks WHERE owner = 'ann' FOR UPDATE")
        with subprocess.Popen(command, cwd=ROOT, env=environment_of(DATABASE_URL=database_url)) as process:
            wait_until(lambda: other.value(WAITING) == 1, "the erasure waits for the tasks")
            process.kill()
        assert process.returncode == -signal.SIGKILL
    wait_until(lambda: sql.value(OTHERS) == 0, "its connection is gone")
    stays_append_only(sql)
    assert [row[:2] for row in rows_of(sql, "ann")] == [row[:2] for row in before]
    assert "5 tasks, of which 3 were deleted now" in erased(database_url)
    assert left(sql) == {}


def test_nobody_reads_what_it_says(ann: Repository, database_url: str, sql: Sql) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "taskapi.erase", "--owner", "ann"]
        done = subprocess.run(command, cwd=ROOT, env=environment_of(DATABASE_URL=database_url), stdout=closed)
    assert done.returncode == 0
    assert left(sql) == {}
