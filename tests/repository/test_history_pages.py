"""The statements on the history: which entries, how many, in which order, cut into which pages."""

from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from taskapi.repository import Repository
from tests.support.sql import Sql
from tests.support.tasks import id_of

FIELDS = [
    *("history_id", "task_id", "action_type", "description", "timestamp"),
    *("task_title", "version", "actor", "request_id", "change_set"),
]


@pytest.fixture(scope="module")
def tasks(shared_repository: Repository) -> list[UUID]:
    """Three tasks whose entries alternate: 3 CREATED, 6 UPDATED, 2 COMPLETED, 1 INCOMPLETED, 1 DELETED."""
    tasks = [id_of(shared_repository.create_task(title=f"Task {number}", description=None)) for number in range(3)]
    for title in ("a", "b"):
        for task_id in tasks:
            shared_repository.update_task(task_id=task_id, changes={"title": title})
    for task_id, is_completed in ((tasks[0], True), (tasks[1], True), (tasks[0], False)):
        shared_repository.set_task_completed(task_id=task_id, is_completed=is_completed)
    shared_repository.delete_task(task_id=tasks[2])
    return tasks


def page(
    repository: Repository, *, limit: int = 100, offset: int = 0, task_id: UUID | None = None, action: str | None = None
) -> tuple[int, list[dict[str, Any]]]:
    total, items = repository.list_history(task_id=task_id, action_type=action, limit=limit, offset=offset)
    return total, orjson.loads(items)


def test_empty_at_first(repository: Repository) -> None:
    assert page(repository) == page(repository, task_id=uuid4()) == page(repository, action="CREATED") == (0, [])


def test_an_entry_has_the_contracts_fields(tasks: list[UUID], shared_repository: Repository, shared_sql: Sql) -> None:
    for selection in ({}, {"action": "DELETED"}, {"task_id": tasks[2]}):
        total, (entry, *_) = page(shared_repository, **selection)
        assert type(total) is int
        assert list(entry) == FIELDS
        assert [entry[name] for name in FIELDS] == list(
            shared_sql.rows(
                "SELECT history_id, task_id, action_type, description,"
                " to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
                " snapshot ->> 'title', version, actor, request_id, change_set"
                " FROM task_history WHERE action_type = 'DELETED'"
            )[0]
        )


def test_newest_first(tasks: list[UUID], shared_repository: Repository) -> None:
    total, entries = page(shared_repository)
    assert total == len(entries) == 13
    times = [entry["timestamp"] for entry in entries]
    assert times == sorted(times, reverse=True)
    assert entries[0]["action_type"] == "DELETED"
    assert [entry["action_type"] for entry in entries[-3:]] == ["CREATED"] * 3


def test_of_one_task(tasks: list[UUID], shared_repository: Repository) -> None:
    _, entries = page(shared_repository)
    for task_id, actions in zip(
        tasks,
        (
            ["INCOMPLETED", "COMPLETED", "UPDATED", "UPDATED", "CREATED"],
            ["COMPLETED", "UPDATED", "UPDATED", "CREATED"],
            ["DELETED", "UPDATED", "UPDATED", "CREATED"],
        ),
        strict=True,
    ):
        total, of_task = page(shared_repository, task_id=task_id)
        assert total == len(actions)
        assert [entry["action_type"] for entry in of_task] == actions
        assert of_task == [entry for entry in entries if entry["task_id"] == str(task_id)]


@pytest.mark.parametrize(
    ("action", "total"), [("CREATED", 3), ("UPDATED", 6), ("COMPLETED", 2), ("INCOMPLETED", 1), ("DELETED", 1)]
)
def test_of_one_action(action: str, total: int, tasks: list[UUID], shared_repository: Repository) -> None:
    _, entries = page(shared_repository)
    selected = [entry for entry in entries if entry["action_type"] == action]
    assert page(shared_repository, action=action) == (total, selected)
    for task_id in tasks:
        of_both = [entry for entry in selected if entry["task_id"] == str(task_id)]
        assert page(shared_repository, task_id=task_id, action=action) == (len(of_both), of_both)


@pytest.mark.parametrize("limit", [1, 2, 5, 13, 100])
@pytest.mark.parametrize("selection", [None, "task", "action", "both"])
def test_the_pages_together_are_the_whole(
    selection: str | None, limit: int, tasks: list[UUID], shared_repository: Repository
) -> None:
    chosen: dict[str, Any] = {
        **({"task_id": tasks[0]} if selection in ("task", "both") else {}),
        **({"action": "UPDATED"} if selection in ("action", "both") else {}),
    }
    total, whole = page(shared_repository, **chosen)
    pages = [page(shared_repository, **chosen, limit=limit, offset=offset) for offset in range(0, total, limit)]
    assert {each for each, _ in pages} == {total}
    assert [entry for _, entries in pages for entry in entries] == whole


@pytest.mark.parametrize("offset", [13, 14, 2**31, 2**63 - 1, 2**63, 10**20, 10**400])
def test_past_the_end_is_empty(offset: int, tasks: list[UUID], shared_repository: Repository) -> None:
    assert page(shared_repository, offset=offset) == (13, [])
    assert page(shared_repository, offset=offset, action="UPDATED") == (6, [])
    assert page(shared_repository, offset=offset, task_id=tasks[0]) == (5, [])


def test_entries_of_the_same_moment_have_one_order(repository: Repository, sql: Sql) -> None:
    with sql.without_triggers():
        sql.execute(
            "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT gen_random_uuid(), 'CREATED', '', '2026-01-05T00:00:00Z', 1, '{}' FROM generate_series(1, 30)"
        )
    for action in (None, "CREATED"):
        _, whole = page(repository, action=action)
        ids = [entry["task_id"] for entry in whole]
        assert ids == sorted(ids, reverse=True)
        pages = [page(repository, action=action, limit=7, offset=offset)[1] for offset in range(0, 30, 7)]
        assert [entry for entries in pages for entry in entries] == whole
