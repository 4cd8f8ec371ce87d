"""What one owner has, all of it, from one moment and for nobody else; and whoever does not get all of it is told."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import orjson
import psycopg2
import pytest

from taskapi import erase, export
from taskapi.errors import SchemaMismatch
from taskapi.places import ROOT
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.role import make_role
from tests.support.environment import environment_of
from tests.support.migrating import run
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of, tasks_of

ODD = 'O\'Brien "x" %s é\u2028'.strip()
"""A name that somebody may have."""

MANY = 6000

MANY_SQL = """
WITH made AS (
    INSERT INTO tasks (owner, title, is_completed, created_at, updated_at, completed_at, version)
    SELECT 'many', 'Task ' || number, true, created, created + interval '1 hour', created + interval '1 hour', 2
    FROM (
        SELECT number, now() - interval '2 hours' + number * interval '1 second' / 2 AS created
        FROM generate_series(1, %s) AS number
    ) AS numbers
    RETURNING tasks
)
INSERT INTO task_history (owner, task_id, action_type, description, timestamp, version, snapshot)
SELECT 'many', (tasks).id, 'CREATED', 'x', (tasks).created_at, 1, to_jsonb(answer(tasks)) || jsonb_build_object(
    'is_completed', false, 'completed_at', NULL, 'updated_at', (answer(tasks)).created_at
)
FROM made
UNION ALL
SELECT 'many', (tasks).id, 'COMPLETED', 'x', (tasks).completed_at, 2, to_jsonb(answer(tasks)) FROM made
"""


@pytest.fixture
def database_url(module_database_url: str) -> str:
    """The tests share what is there, and add to it only for names of their own."""
    return module_database_url


@pytest.fixture(scope="module")
def shared(module_database_url: str, shared_repository: Repository, shared_sql: Sql) -> None:
    """Ann and one with an odd name have a few tasks, and somebody many."""
    for owner in ("ann", "bob", ODD, "--help"):
        with_tasks(shared_repository.of(owner))
    with shared_sql.without_triggers():
        shared_sql.execute(MANY_SQL, (MANY,))
    shared_sql.execute("ANALYZE")


@pytest.fixture(autouse=True)
def _shared(shared: None) -> None:
    """Every test here needs it."""


def with_tasks(repository: Repository) -> None:
    origin = Origin("who", "request-1", "run-1")
    for number in range(4):
        task_id = id_of(repository.create_task(title=f"Line\n{number} é\u2028", description=None, origin=origin))
        repository.update_task(task_id=task_id, changes={"description": '"quoted"'}, origin=origin)
        repository.set_task_completed(task_id=task_id, is_completed=bool(number % 2))
        if number > 1:
            repository.delete_task(task_id=task_id)
    repository.restore_task(task_id=task_id)


def exported(url: str, owner: str) -> list[str]:
    with closing(psycopg2.connect(url)) as connection:
        return list(export.export(connection, owner))


def replayed(lines: list[str]) -> dict[str, tuple[dict[str, Any], int]]:
    """The tasks that the entries of an export amount to, by id, and their versions."""
    tasks: dict[str, tuple[dict[str, Any], int]] = {}
    for line in lines:
        if found := json.loads(line).get("entry"):
            assert found["version"] == tasks.get(found["task_id"], ({}, found["version"] - 1))[1] + 1
            tasks[found["task_id"]] = (json.loads(line)["snapshot"], found["version"])
            if found["action_type"] == "DELETED":
                tasks[found["task_id"]] = ({}, found["version"])
    return {task_id: task for task_id, task in tasks.items() if task[0]}


def listed(lines: list[str]) -> dict[str, tuple[dict[str, Any], int]]:
    """The tasks of an export, by id, and their versions."""
    found = [json.loads(line) for line in lines]
    return {line["task"]["id"]: (line["task"], line["version"]) for line in found if "task" in line}


def process(*arguments: str, url: str, redirection: str = "", **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run the program, with its output redirected by a shell."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "taskapi.export", *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, cwd=ROOT, env=environment_of(DATABASE_URL=url), **options)


# What it has


@pytest.mark.parametrize("owner", ["ann", ODD, "--help"])
def test_all_of_one_owner(owner: str, database_url: str, shared_repository: Repository, shared_sql: Sql) -> None:
    done = process("--", owner, url=database_url)
    lines = done.stdout.decode().removesuffix("\n").split("\n")
    assert (done.returncode, done.stderr.decode()) == (0, f"taskapi: 16 lines of {owner}.\n")
    assert len(lines) == 16
    found = [json.loads(line) for line in lines]
    assert [set(line) for line in found] == [{"task", "version"}] * 3 + [{"entry", "snapshot"}] * 13
    repository = shared_repository.of(owner)
    assert [line["task"] for line in found if "task" in line] == tasks_of(repository.list_tasks())
    _, items = repository.list_history(task_id=None, action_type=None, limit=100, offset=0)
    entries = sorted(orjson.loads(items), key=lambda entry: (entry["timestamp"], entry["task_id"]))
    assert [line["entry"] for line in found if "entry" in line] == entries
    assert replayed(lines) == listed(lines)


def test_erased_texts_are_not_in_it(database_url: str, shared_repository: Repository) -> None:
    repository = shared_repository.of("erased")
    with_tasks(repository)
    with closing(psycopg2.connect(database_url)) as connection:
        erase.erase_owner(connection, "erased")
    lines = exported(database_url, "erased")
    assert {json.loads(line)["snapshot"]["title"] for line in lines} == {"[erased]"}
    assert "Line" not in "".join(lines)


def test_many_entries_stream(database_url: str) -> None:
    with closing(psycopg2.connect(database_url)) as connection:
        lines = export.export(connection, "many")
        first = next(lines)
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM pg_cursors")
            assert cursor.fetchall() == [("tasks",)]
        everything = [first, *lines]
    assert len(everything) == 3 * MANY
    assert len(listed(everything)) == MANY
    assert replayed(everything) == listed(everything)


def test_it_is_from_one_moment(database_url: str, shared_repository: Repository) -> None:
    repository = shared_repository.of("busy")
    with_tasks(repository)
    before = exported(database_url, "busy")
    with closing(psycopg2.connect(database_url)) as connection:
        lines = export.export(connection, "busy")
        found = [next(lines)]
        repository.create_task(title="new", description=None)
        repository.delete_tasks(task_ids=[id_of(repository.create_task(title="gone", description=None))])
        found += lines
    assert found == before


@pytest.fixture
def role_url(postgres: Server, database_url: str) -> Iterator[str]:
    """The URL of the role that the service has, for which row-level security holds."""
    with Sql(database_url) as sql:
        with closing(psycopg2.connect(database_url)) as connection:
            make_role(connection, "exporter")
        try:
            yield database_url.replace("taskapi@", "exporter@")
        finally:
            sql.execute("DROP OWNED BY exporter; DROP ROLE exporter")


def test_the_services_role_gets_the_same(database_url: str, role_url: str) -> None:
    with Sql(role_url) as sql:
        assert sql.value("SELECT row_security_active('tasks') AND row_security_active('task_history')")
        assert sql.value("SELECT count(*) FROM tasks") == 0
    for owner in ("ann", ODD):
        found = process(owner, url=role_url)
        assert (found.returncode, found.stdout) == (0, process(owner, url=database_url).stdout)
        assert found.stdout


# What is refused


@pytest.mark.parametrize("owner", ["an", "Ann", "ann ", "%", "x" * 255])
def test_nobody_of_that_name(owner: str, database_url: str) -> None:
    assert exported(database_url, owner) == []


def test_nobody_for_the_command(database_url: str) -> None:
    done = run("taskapi.export", "x" * 255, url=database_url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"taskapi: There is nothing of {'x' * 255}.\n")


@pytest.mark.parametrize("owner", ["", "an\nn", "x" * 256, os.fsdecode(b"\xff")])
def test_what_is_no_name(owner: str, database_url: str) -> None:
    done = run("taskapi.export", owner, url=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "taskapi: OWNER must be 1 to 255 printable characters.\n"


def test_another_schema(database_url: str, shared_sql: Sql) -> None:
    now = shared_sql.value("SELECT version_num FROM taskapi_version")
    shared_sql.execute("UPDATE taskapi_version SET version_num = '0015'")
    try:
        with pytest.raises(SchemaMismatch):
            exported(database_url, "ann")
        done = run("taskapi.export", "ann", url=database_url)
    finally:
        shared_sql.execute("UPDATE taskapi_version SET version_num = %s", (now,))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: The database's schema is not this version's: run `AUTO_MIGRATE=true ")


def test_a_role_without_rights(database_url: str, new_role: Callable[[str], str]) -> None:
    done = run("taskapi.export", "ann", url=new_role(database_url))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: Not all was written; run this again: permission denied for table ")


def test_no_password_is_printed(database_url: str) -> None:
    done = run("taskapi.export", "ann", url=database_url.replace("taskapi@", "nobody:geheim@"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: Not all was written; run this again: ")
    assert "geheim" not in done.stderr


# Where the lines go


@pytest.mark.parametrize("owner", ["ann", "many"])
def test_a_full_disk(owner: str, database_url: str) -> None:
    done = process(owner, url=database_url, redirection="> /dev/full")
    assert (done.returncode, done.stderr) == (1, b"taskapi: Not all was written: No space left on device.\n")


@pytest.mark.parametrize("read", [0, 1, 100_000])
def test_a_reader_who_goes(read: int, database_url: str) -> None:
    command = [sys.executable, "-m", "taskapi.export", "many"]
    environment, pipe = environment_of(DATABASE_URL=database_url), subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as started:
        assert started.stdout
        assert started.stderr
        assert len(started.stdout.read(read)) == read
        started.stdout.close()
        assert started.stderr.read() == b"taskapi: Not all was written: Broken pipe.\n"
    assert started.returncode == 1


def test_no_stdout(database_url: str) -> None:
    done = process("ann", url=database_url, redirection=">&-")
    assert (done.returncode, done.stderr) == (1, b"taskapi: Nothing was written: stdout is closed.\n")


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", "2>&- <&-"])
def test_no_stderr(redirection: str, database_url: str) -> None:
    """What it would say does not come among the lines."""
    done = process("ann", url=database_url, redirection=redirection)
    assert done.returncode == 0
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [
        *[{"task", "version"}] * 3,
        *[{"entry", "snapshot"}] * 13,
    ]


def test_a_connection_that_is_cut(database_url: str, shared_sql: Sql) -> None:
    command = [sys.executable, "-m", "taskapi.export", "many"]
    environment, pipe = environment_of(DATABASE_URL=database_url), subprocess.PIPE
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
    cut += " AND application_name = 'taskapi-migrations'"
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as started:
        assert started.stdout
        assert started.stderr
        assert started.stdout.readline()
        assert shared_sql.value(cut) == 1
        while started.stdout.read(65536):
            pass
        said = started.stderr.read().decode()
    assert started.returncode == 1
    assert said.startswith("taskapi: Not all was written; run this again: ")
    assert said.count("\n") == 1
