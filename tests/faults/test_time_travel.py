"""After a storm of changes, the tasks, lists, versions and figures of any moment are what a replay says."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson
import pytest

from taskapi.database import queries
from taskapi.errors import TaskNotFound
from taskapi.repository import Repository
from tests.support.sql import Sql
from tests.support.storm import Entry, figures, history, listed, moments, replay, storm, whole_list

FIELDS = ("title", "description", "is_completed", "completed_at")


def test_any_moment_is_as_a_replay_says(
    repository: Repository,
    sql: Sql,
    sized: Callable[[int, int], int],
    figure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(11)
    storm(repository, sql, sized(250, 800), chance)
    entries = history(sql)
    assert {entry.action_type for entry in entries} == {
        "CREATED", "UPDATED", "COMPLETED", "INCOMPLETED", "DELETED", "RESTORED"
    }  # fmt: skip
    count = sized(60, 300)
    for moment in moments(entries, count, chance):
        tasks = replay(entries, moment)
        # So that lists are found in each way: by walking, by the actions, and by both.
        monkeypatch.setattr("taskapi.repository.as_of.WALK", chance.choice([0, 5, 40, 10_000]))
        for is_completed in (None, False, True):
            assert whole_list(repository, moment, is_completed, chance) == listed(tasks, is_completed)
        if chance.random() < 0.2:
            sql.execute(queries.load()["fold_totals"].text, {"owner": "default"})
        check_figures(sql, tasks, moment, chance.choice(entries).timestamp, chance)
        for entry in chance.sample(entries, 5):
            check_task(repository, entries, tasks.get(entry.task_id), UUID(entry.task_id), moment)
    for task_id, of_task in groupby(sorted(entries, key=lambda e: (e.task_id, e.version)), lambda e: e.task_id):
        check_versions(repository, UUID(task_id), list(of_task), chance)
    figure(f"{count} moments in {len(entries)} entries: lists, tasks, versions and figures as a replay says")


def check_figures(
    sql: Sql, tasks: dict[str, dict[str, Any]], moment: datetime, starts: datetime, chance: random.Random
) -> None:
    """The statement itself: the weeks of the service are longer than the storm."""
    ends = starts + timedelta(seconds=chance.choice([0.01, 0.1, 0.5, 3, 60]))
    ((outcome, created, completed, complete, total, _),) = sql.rows(
        queries.load()["weekly_stats_as_of"].text,
        {"owner": "default", "as_of": moment, "starts": starts.timestamp(), "ends": ends.timestamp()},
    )
    assert outcome == "known"
    assert (created, completed, complete, total - complete, total) == tuple(figures(tasks, starts, ends).values())


def check_task(
    repository: Repository, entries: list[Entry], expected: dict[str, Any] | None, task_id: UUID, moment: datetime
) -> None:
    if expected is None:
        with pytest.raises(TaskNotFound):
            repository.get_task_as_of(task_id=task_id, as_of=moment)
        return
    found = repository.get_task_as_of(task_id=task_id, as_of=moment)
    assert orjson.loads(found.task) == expected
    before = [e.version for e in entries if e.task_id == str(task_id) and e.timestamp <= moment]
    assert found.version == max(before)


def check_versions(repository: Repository, task_id: UUID, entries: list[Entry], chance: random.Random) -> None:
    found, has_more = list[dict[str, Any]](), True
    while has_more:
        limit = chance.randint(1, 4)
        items, has_more = repository.list_versions(
            task_id=task_id, after=found[-1]["version"] if found else 0, limit=limit
        )
        page = orjson.loads(items)
        assert len(page) == limit or not has_more
        found += page
    before = dict[str, Any]()
    for entry, version in zip(entries, found, strict=True):
        is_there = entry.action_type != "DELETED"
        moved = {
            name: [before.get(name), entry.snapshot[name]]
            for name in FIELDS
            if is_there and before.get(name) != entry.snapshot[name]
        }
        assert version["changes"] == moved
        assert (version["version"], version["action_type"]) == (entry.version, entry.action_type)
        assert version["task"] == (entry.snapshot if is_there else None)
        before = entry.snapshot
