"""Many who write, delete, undo and restore the same at once: each undo has one effect, and the history is true."""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import orjson
import pytest

from taskapi import repair
from taskapi.database import queries
from taskapi.errors import ChangeNotFound, DeletionChosen, TaskNotFound, UndoConflict, VersionMismatch
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.undo import Chosen
from tests.conftest import NewRepository
from tests.repository.test_totals import looked
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql

EQUALS, WRITERS, DELETERS, UNDOERS = 16, 4, 2, 6

PATIENT = {"db_pool_timeout": 60.0, "db_statement_timeout": 60.0, "db_lock_timeout": 60.0, "request_deadline": 120.0}
"""For runs that nothing but the other requests may hold up, also on a busy machine."""


@pytest.fixture
def crowded(database_url: str, new_repository: NewRepository) -> Repository:
    return new_repository(database_url, db_connections=EQUALS, **PATIENT)


def create(repository: Repository, count: int) -> list[UUID]:
    new = [{"title": "A", "description": None}] * count
    return [UUID(task["id"]) for task in orjson.loads(repository.create_tasks(tasks=new).tasks)]


def each_at_once(ids: list[UUID], act: Callable[[UUID], object]) -> None:
    """Do it EQUALS times at once to each of the tasks."""
    barrier = Barrier(EQUALS)

    def all_of_them(_: int) -> None:
        for task_id in ids:
            barrier.wait()
            act(task_id)

    with ThreadPoolExecutor(EQUALS) as threads:
        list(threads.map(all_of_them, range(EQUALS)))


def assert_truth(sql: Sql) -> None:
    assert_replay_equals_tasks(sql)
    given, counted = looked(sql)
    assert given == counted
    sql.value(queries.load()["fold_totals"].text, {"owner": "default"})
    given, counted = looked(sql)
    assert given == counted
    assert repair.repair(sql.connection, only_check=True) == []


@pytest.mark.parametrize("what", ["an update", "a deletion", "a restoration"])
def test_equal_ones_have_one_effect(
    what: str, crowded: Repository, sql: Sql, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    ids = create(crowded, sized(12, 200))
    for task_id in ids:
        if what == "an update":
            crowded.update_task(task_id=task_id, changes={"title": "B"})
        else:
            crowded.delete_task(task_id=task_id)
    if what == "a restoration":
        each_at_once(ids, lambda task_id: crowded.restore_task(task_id=task_id))
    else:
        each_at_once(ids, lambda task_id: crowded.undo_change(task_id=task_id, version=2))
    assert sql.rows("SELECT version, count(*) FROM task_history GROUP BY 1 ORDER BY 1") == [
        (version, len(ids)) for version in (1, 2, 3)
    ]
    assert sql.rows("SELECT title, version, count(*) FROM tasks GROUP BY 1, 2") == [("A", 3, len(ids))]
    assert_truth(sql)
    figure(f"{EQUALS} equal ones at once on each of {len(ids)} tasks: {len(ids)} effects")


def test_a_storm(
    crowded: Repository, sql: Sql, sized: Callable[[float, float], float], figure: Callable[[str], None]
) -> None:
    """Writers, deleters, undoers of one change, of many and of their own undos, on few tasks."""
    ids, done = create(crowded, 8), Counter[str]()
    seconds = sized(3.0, 60.0)
    end = time.monotonic() + seconds

    def storm(seed: int, act: Callable[[random.Random], str]) -> Counter[str]:
        chance, counts = random.Random(seed), Counter[str]()
        while time.monotonic() < end:
            try:
                counts[act(chance)] += 1
            except (TaskNotFound, ChangeNotFound):
                counts["found nothing"] += 1
            except (DeletionChosen, UndoConflict, VersionMismatch) as error:
                counts[type(error).__name__] += 1
        return counts

    def write(chance: random.Random) -> str:
        task_id, origin = chance.choice(ids), Origin(chance.choice(["ann", "bob"]), None, chance.choice("abc"))
        if chance.random() < 0.6:
            changes: dict[str, Any] = {chance.choice(["title", "description"]): chance.choice("ABC")}
            crowded.update_task(task_id=task_id, changes=changes, origin=origin)
        else:
            crowded.set_task_completed(task_id=task_id, is_completed=chance.random() < 0.5, origin=origin)
        return "written"

    def delete(chance: random.Random) -> str:
        if chance.random() < 0.3:
            crowded.delete_task(task_id=chance.choice(ids), origin=Origin("ann"))
            return "deleted"
        crowded.restore_task(task_id=chance.choice(ids), origin=Origin("bob"))
        return "restored"

    def undo(chance: random.Random) -> str:
        task_id, choice = chance.choice(ids), chance.random()
        if choice < 0.5:
            count, _ = crowded.list_history(task_id=task_id, action_type=None, limit=1, offset=0)
            version = max(1, count - chance.randrange(3))
            key = f"{task_id} {version}" if chance.random() < 0.3 else None
            crowded.undo_change(task_id=task_id, version=version, origin=Origin("undoer"), idempotency_key=key)
            return "undone"
        if choice < 0.6:
            count, _ = crowded.list_history(task_id=task_id, action_type=None, limit=1, offset=0)
            crowded.restore_task(task_id=task_id, version=max(1, count - 2), expected=[str(count)])
            return "restored to a version"
        since = datetime.now(UTC) - timedelta(milliseconds=100)
        chosen = Chosen(actor=chance.choice(["ann", "undoer"]), since=since)
        crowded.undo(chosen=chosen, skip_conflicts=chance.random() < 0.8, origin=Origin("undoer"))
        return "undone of many"

    acts = [write] * WRITERS + [delete] * DELETERS + [undo] * UNDOERS
    with ThreadPoolExecutor(len(acts)) as threads:
        for counts in threads.map(storm, range(len(acts)), acts):
            done += counts
    assert {"written", "deleted", "restored", "undone", "undone of many", "UndoConflict"} <= set(done)
    actions = {action for (action,) in sql.rows("SELECT DISTINCT action_type FROM task_history")}
    assert actions >= {"UPDATED", "COMPLETED", "INCOMPLETED", "DELETED", "RESTORED"}
    assert_truth(sql)
    entries = sql.value("SELECT count(*) FROM task_history")
    figure(
        f"{seconds:.0f} s, {len(acts)} at once: {dict(done)}, {entries:,} entries; replay equals tasks, totals exact"
    )
