"""Totals are what count(*) says, in every snapshot: while many write and fold, and after a restore elsewhere."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import orjson
import psycopg2
import pytest

from taskapi import repair
from taskapi.database import queries
from taskapi.database.database import Database
from taskapi.errors import Conflict, DatabaseRewound, PoolBusy, RolledBack
from taskapi.repository import Repository
from taskapi.repository.base import UNCOUNTED
from taskapi.repository.history import FARTHEST, NEAR
from taskapi.repository.stats import WEEK
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.folders import short_folder
from tests.support.migrating import alembic, migrate, program, psql, run
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import add_task, id_of
from tests.support.waiting import wait_until

LOOK = """
SELECT page.total, near.total, stats.created, stats.completed, stats.complete, stats.tasks, counted.*
FROM ({far}) AS page, ({near}) AS near, ({stats}) AS stats, (
    SELECT
        (SELECT count(*) FROM task_history) AS entries,
        (SELECT count(*) FROM task_history) AS near_entries,
        count(*) FILTER (WHERE created_at >= to_timestamp(%(starts)s)) AS created,
        count(*) FILTER (WHERE completed_at >= to_timestamp(%(starts)s)) AS completed,
        count(*) FILTER (WHERE is_completed) AS complete,
        count(*) AS tasks
    FROM tasks
) AS counted
"""
"""All figures, from one snapshot."""


def looked(sql: Sql) -> tuple[list[int], list[int]]:
    """The figures that the statements give, and those that are counted."""
    text = {name: statement.text for name, statement in queries.load().items()}
    monday = int(sql.value("SELECT extract(epoch FROM date_trunc('week', now() AT TIME ZONE 'UTC'))"))
    (figures,) = sql.rows(
        LOOK.format(far=text["list_far_history"], near=text["list_history"], stats=text["weekly_stats"]),
        {"owner": "default", "limit": 0, "offset": 0, "length": "1 day", "starts": monday, "ends": monday + WEEK},
    )
    return list(figures[:6]), list(figures[6:])


def test_exact_while_many_write_and_fold(database_url: str, new_repository: NewRepository, sql: Sql) -> None:
    """Transactions that commit late or roll back, tasks that come, change and go, and several that fold at once."""
    end = time.monotonic() + 4
    written = threading.Event()

    def write(seed: int) -> None:
        chance, repository = random.Random(seed), new_repository(database_url, db_connections=1)
        mine: list[UUID] = []
        while time.monotonic() < end:
            choice = chance.random()
            if choice < 0.4 or not mine:
                mine.append(id_of(repository.create_task(title="x", description=None)))
            elif choice < 0.8:
                repository.set_task_completed(task_id=chance.choice(mine), is_completed=chance.random() < 0.6)
            elif choice < 0.9:
                repository.update_task(task_id=chance.choice(mine), changes={"title": str(choice)})
            else:
                repository.delete_task(task_id=mine.pop())
            written.set()

    def write_slowly(seed: int) -> None:
        chance = random.Random(seed)
        with Sql(database_url) as slow:
            while time.monotonic() < end:
                slow.execute("BEGIN")
                slow.execute(
                    queries.load()["create_task"].text,
                    {
                        "owner": "default",
                        "task": '{"title": "slow"}',
                        "actor": None,
                        "request_id": None,
                        "change_set": None,
                        "idempotency_key": None,
                        "request_digest": None,
                    },
                )
                time.sleep(chance.choice([0.01, 0.1, 0.4]))
                slow.execute(chance.choice(["COMMIT", "ROLLBACK"]))

    def fold() -> None:
        with Sql(database_url) as folder:
            while time.monotonic() < end:
                folder.execute(queries.load()["fold_totals"].text, {"owner": "default"})
                time.sleep(random.random() * 0.02)

    with ThreadPoolExecutor(11) as pool:
        jobs = [pool.submit(write, seed) for seed in range(6)]
        jobs += [pool.submit(write_slowly, seed) for seed in range(2)]
        jobs += [pool.submit(fold) for _ in range(3)]
        written.wait()
        looks = 0
        while time.monotonic() < end:
            given, counted = looked(sql)
            assert given == counted
            looks += 1
        for job in jobs:
            job.result()
    assert looks > 10
    assert sql.value("SELECT upto IS NOT NULL AND created > 0 FROM history_totals")
    given, counted = looked(sql)
    assert given == counted
    with psycopg2.connect(database_url) as connection:
        assert repair.repair(connection, only_check=True) == []


def test_who_reads_lets_them_catch_up(repository: Repository, sql: Sql) -> None:
    def uncounted() -> int:
        return int(sql.value("SELECT count(*) FROM unseen('default', (SELECT upto FROM history_totals))"))

    def read_history() -> int:
        return repository.list_history(task_id=None, action_type=None, limit=1, offset=0)[0]

    repository.create_tasks(tasks=[{"title": "x", "description": None}] * UNCOUNTED)
    assert read_history() == UNCOUNTED
    assert sql.value("SELECT count(*) FROM history_totals") == 0
    repository.create_tasks(tasks=[{"title": "x", "description": None}])
    assert read_history() == UNCOUNTED + 1
    assert (uncounted(), read_history()) == (0, UNCOUNTED + 1)

    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    assert orjson.loads(repository.weekly_stats())["total_tasks"] == uncounted() + UNCOUNTED + 1 + (UNCOUNTED + 1)
    assert uncounted() == 0
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    created = repository.list_history(task_id=None, action_type="CREATED", limit=1, offset=0)[0]
    assert (created, uncounted()) == (3 * (UNCOUNTED + 1), 0)


def test_one_counts_and_the_others_do_not_wait(repository: Repository, database_url: str, sql: Sql) -> None:
    """Many read at once after a dump was loaded, and all find much to count."""
    fold, owner = queries.load()["fold_totals"].text, {"owner": "default"}
    repository.create_task(title="x", description=None)
    with Sql(database_url) as other:
        with other.transaction():
            assert other.value(fold, owner) == 1
            assert sql.value(fold, owner) == 0
        assert sql.value("SELECT created FROM history_totals") == 1
        repository.create_task(title="x", description=None)
        with other.transaction():
            assert other.value(fold, owner) == 1
            assert sql.value(fold, owner) == 0
        assert sql.value("SELECT created FROM history_totals") == 2


DAYS = (9, 1, 0, 4, 1)
"""How many tasks are created on each of some days, oldest first."""


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("offset", range(18))
@pytest.mark.parametrize("limit", [1, 5, 20])
def test_a_page_is_the_same_however_it_is_found(
    offset: int, limit: int, folded: bool, shared_repository: Repository, shared_sql: Sql
) -> None:
    """From the newest entry on, from the start of a day, or from its end; with the day counted or not."""
    count = sum(DAYS)
    if shared_sql.value("SELECT count(*) FROM task_history") == 0:
        for day, tasks in enumerate(DAYS, start=1):
            for number in range(tasks):
                add_task(shared_sql, f"2026-01-{day:02}T{number * 2:02}:59:59.999999Z")
    if folded:
        shared_sql.execute(queries.load()["fold_totals"].text, {"owner": "default"})
    else:
        shared_sql.execute("TRUNCATE history_totals, history_periods")
    ids = [str(name) for (name,) in shared_sql.rows("SELECT history_id FROM task_history ORDER BY timestamp DESC")]
    for name in ("list_history", "list_far_history", "list_history_by_action"):
        total, items, uncounted = shared_sql.rows(
            queries.load()[name].text,
            {"owner": "default", "limit": limit, "offset": offset, "action_type": "CREATED"},
        )[0]
        assert (total, uncounted) == (count, 0 if folded else count)
        assert [entry["history_id"] for entry in orjson.loads(items)] == ids[offset : offset + limit]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu"])
def test_days_are_those_of_utc(zone: str, emptied_database_url: str) -> None:
    """Also where a session's clock is changed on one of them, so that it has 23 or 25 hours there."""
    with Sql(emptied_database_url) as sql:
        for day in ("2026-03-28", "2026-03-29", "2026-04-04", "2026-04-05", "2026-09-06", "2026-10-25", "2026-10-26"):
            for time_of_day in ("00:00:00", "10:00:00", "23:59:59"):
                add_task(sql, f"{day}T{time_of_day}Z")
        sql.execute(f"SET timezone = '{zone}'")
        near, far = (
            [
                sql.rows(queries.load()[name].text, {"owner": "default", "limit": 2, "offset": offset})
                for offset in range(22)
            ]
            for name in ("list_history", "list_far_history")
        )
    assert near == far


def test_a_far_page_of_nothing(repository: Repository) -> None:
    for offset in (NEAR, FARTHEST, FARTHEST * 2):
        assert repository.list_history(task_id=None, action_type=None, limit=10, offset=offset) == (0, b"[]")


BY_HAND = """
WITH entry (action_type, is_completed) AS (VALUES {entries})
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT tasks.id, action_type, 'by hand', now(), row_number() OVER (), to_jsonb(answer(tasks)) || jsonb_build_object(
    'is_completed', entry.is_completed, 'completed_at', CASE WHEN entry.is_completed THEN now() END
)
FROM tasks, entry
"""


@pytest.mark.parametrize(
    ("entries", "complete"),
    [
        ("('CREATED', true)", True),
        ("('CREATED', false), ('UPDATED', true)", True),
        ("('CREATED', true), ('UPDATED', false)", False),
        ("('CREATED', true), ('COMPLETED', true)", True),
        ("('CREATED', false), ('DELETED', false), ('RESTORED', true), ('COMPLETED', true)", True),
        ("('CREATED', true), ('DELETED', true), ('RESTORED', false), ('INCOMPLETED', false)", False),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_what_people_write_counts_whatever_they_call_it(
    entries: str, complete: bool, folded: bool, emptied_database_url: str
) -> None:
    with Sql(emptied_database_url) as sql:
        with sql.without_triggers():
            sql.execute(
                "INSERT INTO tasks (title, is_completed, created_at, updated_at, completed_at)"
                f" VALUES ('x', {complete}, now(), now(), {'now()' if complete else 'NULL'})"
            )
            sql.execute(BY_HAND.format(entries=entries))
        if folded:
            assert sql.value(queries.load()["fold_totals"].text, {"owner": "default"}) == 1
        given, counted = looked(sql)
    assert given == counted
    assert repaired(emptied_database_url, only_check=True) == []


def test_who_cannot_update_them_answers_without(
    repository: Repository, database_url: str, new_repository: NewRepository, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a standby, a read tries once to update the totals, and the next ones do not."""
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    reader = new_repository(database_url)
    sql.execute(f"ALTER DATABASE {sql.database} SET default_transaction_read_only = on")
    ran, run_once = list[str](), Database._run_once

    def noting(database: Database, name: str, parameters: Any, own_plan: bool) -> Any:
        ran.append(name)
        return run_once(database, name, parameters, own_plan)

    monkeypatch.setattr(Database, "_run_once", noting)
    for _ in range(3):
        assert orjson.loads(reader.weekly_stats())["total_tasks"] == UNCOUNTED + 1
    assert ran == ["weekly_stats", "fold_totals", "weekly_stats", "weekly_stats"]


def test_a_busy_moment_keeps_nobody_from_trying_again(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    refusals, ran, run_once = [PoolBusy(), Conflict(), RolledBack()], list[str](), Database._run_once

    def noting(database: Database, name: str, parameters: Any, own_plan: bool) -> Any:
        ran.append(name)
        if name == "fold_totals" and refusals:
            raise refusals.pop(0)
        return run_once(database, name, parameters, own_plan)

    monkeypatch.setattr(Database, "_run_once", noting)
    monkeypatch.setattr("taskapi.repository.base.BUSY_PAUSE", 0.0)
    for _ in range(5):
        repository.weekly_stats()
    # After the third one, which the database has refused, nobody tries for a while.
    assert ran == ["weekly_stats", "fold_totals"] * 3 + ["weekly_stats"] * 2


def test_one_reader_waits_for_a_lock_on_them_and_no_other(
    repository: Repository, database_url: str, new_repository: NewRepository, sql: Sql
) -> None:
    """As repair keeps it: else each read would keep a connection of the pool waiting."""
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    reader = new_repository(database_url, db_connections=2)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with Sql(database_url) as holder, ThreadPoolExecutor() as threads:
        with holder.transaction():
            holder.execute(repair.LOCK_SQL)
            first = threads.submit(reader.weekly_stats)
            wait_until(lambda: sql.value(waiting) == 1, "the first read waits to update the totals")
            for _ in range(3):
                assert orjson.loads(reader.weekly_stats())["total_tasks"] == UNCOUNTED + 1
            assert not first.done()
        assert orjson.loads(first.result())["total_tasks"] == UNCOUNTED + 1


def test_an_entry_without_its_predecessor_changes_no_other_figure(emptied_database_url: str) -> None:
    with Sql(emptied_database_url) as sql:
        add_task(sql, "2026-11-24")
        sql.execute(
            "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT task_id, 'UPDATED', 'by hand', now(), 7, snapshot FROM task_history"
        )
        for _ in range(2):
            given, counted = looked(sql)
            assert given == counted
            sql.value(queries.load()["fold_totals"].text, {"owner": "default"})


# Repairs


def test_after_a_restore_everything_is_counted(repository: Repository, database_url: str, sql: Sql) -> None:
    """A read may have too little time for it."""
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * 3)
    totals = "SELECT coalesce(sum(created), 0), (SELECT sum(entries) FROM history_periods) FROM history_totals"
    assert repaired(database_url, only_check=True) == []
    assert sql.rows(totals) == [(0, None)]
    assert repaired(database_url) == []
    assert sql.rows(totals) == [(3, 6)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE history_totals SET created = created + 1",
        "UPDATE history_totals SET complete = complete - 1",
        "DELETE FROM history_totals",
        "UPDATE history_periods SET completed = completed + 1",
        "DELETE FROM history_periods",
    ],
)
def test_what_is_wrong_is_found_and_repaired(damage: str, repository: Repository, database_url: str, sql: Sql) -> None:
    task_id = id_of(repository.create_task(title="x", description=None))
    repository.set_task_completed(task_id=task_id, is_completed=True)
    sql.execute(queries.load()["fold_totals"].text, {"owner": "default"})
    assert repaired(database_url, only_check=True) == []
    sql.execute(damage)
    assert repaired(database_url, only_check=True) == ["The totals are not what the history amounts to: default."]
    assert repaired(database_url) == ["The totals are not what the history amounts to: default."]
    assert repaired(database_url) == []
    given, counted = looked(sql)
    assert given == counted


def test_a_check_waits_for_nobody(repository: Repository, database_url: str, sql: Sql) -> None:
    """Nor does anybody wait for it: it takes no lock, and counts what the totals do not have yet."""
    sql.execute(f"ALTER DATABASE {sql.database} SET lock_timeout = '1s'")
    for _ in range(2):
        task_id = id_of(repository.create_task(title="x", description=None))
        repository.set_task_completed(task_id=task_id, is_completed=True)
        assert repaired(database_url, only_check=True) == []
        repository.set_task_completed(task_id=task_id, is_completed=False)
        assert repaired(database_url, only_check=True) == []
        with Sql(database_url) as other, other.transaction():
            assert other.value(queries.load()["fold_totals"].text, {"owner": "default"}) == 1
            assert repaired(database_url, only_check=True) == []
        repository.delete_task(task_id=task_id)


def repaired(url: str, *, only_check: bool = False) -> list[str]:
    connection = psycopg2.connect(url)
    try:
        return repair.repair(connection, only_check=only_check)
    finally:
        connection.close()


def test_a_database_from_an_older_cluster(repository: Repository, database_url: str, sql: Sql) -> None:
    """It is noticed before it answers, by the start and by readiness; the command that they name puts it right."""
    # So that its transactions have larger numbers than those of a new cluster: each block has one of its own.
    sql.execute(
        "DO $$ BEGIN FOR number IN 1..5000 LOOP BEGIN LOCK TABLE history_totals IN ROW EXCLUSIVE MODE;"
        " INSERT INTO history_totals VALUES ('x', '1:1:', 0, 0, 0, 0, 0, 0, 0); RAISE division_by_zero;"
        " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
    )
    tasks = [id_of(repository.create_task(title=str(number), description=None)) for number in range(5)]
    sql.execute(queries.load()["fold_totals"].text, {"owner": "default"})
    repository.set_task_completed(task_id=tasks[0], is_completed=True)
    repository.check_transactions()
    dump = program("pg_dump", "--no-owner", "--no-privileges", database_url)
    with short_folder() as folder:
        young = Server(folder / "pg")
        young.start()
        try:
            with young.database() as name:
                url = young.url(name)
                psql(url, dump)
                # Also where it is older than the code.
                alembic("downgrade", "-1", url=url)
                assert "`python -m taskapi.repair`" in migrate(url).stderr
                assert "`python -m taskapi.repair`" in migrate(url).stderr
                there = Repository(Database(Settings(database_url=url)))
                with pytest.raises(DatabaseRewound):
                    there.check_transactions()
                done = run("taskapi.repair", "--check", url=url)
                assert (done.returncode, "Run it without --check" in done.stdout) == (1, True)
                done = run("taskapi.repair", url=url)
                assert (done.returncode, "This is repaired." in done.stdout) == (0, True)
                done = run("taskapi.repair", "--check", url=url)
                assert (done.returncode, done.stdout) == (0, "The history and the totals are right.\n")
                assert migrate(url).returncode == 0
                there.check_transactions()
                there.set_task_completed(task_id=tasks[1], is_completed=True)
                with Sql(url) as connection:
                    given, counted = looked(connection)
                    assert given == counted == [7, 7, 5, 2, 2, 5]
                    with pytest.raises(psycopg2.errors.RestrictViolation):
                        connection.execute("UPDATE task_history SET description = ''")
        finally:
            young.stop()


def test_what_is_counted_before_anything_has_happened_is_right(database_url: str, sql: Sql) -> None:
    sql.execute(queries.load()["fold_totals"].text, {"owner": "default"})
    assert sql.value("SELECT count(*) FROM history_totals") == 1
    done = run("taskapi.repair", "--check", url=database_url)
    assert (done.returncode, done.stdout) == (0, "The history and the totals are right.\n")
