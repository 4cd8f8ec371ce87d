"""Replays the history and compares it with the tasks: whatever happened, the two must tell the same story."""

from datetime import datetime
from itertools import groupby
from typing import Any

from tests.support.sql import Sql

FIELDS = ("id", "title", "description", "is_completed", "created_at", "updated_at", "completed_at")

COMPLETION = {"is_completed", "completed_at"}

MOVES = {
    "UPDATED": {"title", "description"},
    "COMPLETED": COMPLETION,
    "INCOMPLETED": COMPLETION,
    "DELETED": set(),
}
"""The fields that an entry may change, next to updated_at."""

UNDO_MOVES = {
    "UPDATED": {"title", "description", "completed_at"},
    "COMPLETED": {"title", "description", *COMPLETION},
    "INCOMPLETED": {"title", "description", *COMPLETION},
    "RESTORED": {"title", "description", *COMPLETION},
    "DELETED": set(),
}
"""The same of the entry of an undo or a restoration."""


def assert_replay_equals_tasks(sql: Sql) -> None:
    """Every task is exactly what its entries make of it, and every entry follows from the one before it.

    For each task: versions 1, 2, 3 … without gap, CREATED first and only first, DELETED last or before RESTORED and
    nowhere else, timestamps that rise strictly and are the task's updated_at; the last snapshot is the row, column by
    column, or the row is gone.
    """
    with sql.transaction():
        sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows = sql.rows(f"SELECT {', '.join(FIELDS)}, version FROM tasks")
        entries = sql.rows(
            "SELECT task_id, version, action_type, timestamp, snapshot, description ~ '^(undo: |erased )',"
            " starts_with(description, 'erased ') FROM task_history ORDER BY task_id, version"
        )
    replayed = {}
    for task_id, of_task in groupby(entries, key=lambda entry: entry[0]):
        task = _replayed([entry[1:] for entry in of_task])
        if task is not None:
            replayed[task_id] = task
    found = {row[0]: dict(zip((*FIELDS, "version"), row, strict=True)) for row in rows}
    assert replayed == found


def _replayed(entries: list[tuple[int, str, datetime, dict[str, Any], bool, bool]]) -> dict[str, Any] | None:
    """The task that these entries end in, None when it was deleted."""
    assert [version for version, *_ in entries] == list(range(1, len(entries) + 1)), "a gap, or a doubled entry"
    task: dict[str, Any] = {}
    last: datetime | None = None
    is_there = False
    for version, action, timestamp, rendered, may_be_undo, is_erased in entries:
        snapshot = _snapshot(rendered)
        moved = {name for name in FIELDS if snapshot[name] != task.get(name)} - {"updated_at"}
        if version == 1:
            assert action == "CREATED"
            assert is_erased or not may_be_undo
            assert snapshot["created_at"] == timestamp
        else:
            assert last is not None
            assert timestamp > last, "the timestamps do not rise"
            assert is_there != (action == "RESTORED"), f"{action} of a task that is {'' if is_there else 'not '}there"
            assert moved <= (UNDO_MOVES if may_be_undo else MOVES)[action], f"{action} changed {moved}"
            assert is_erased or moved or action in ("DELETED", "RESTORED"), f"{action} changed nothing"
            if action in ("COMPLETED", "INCOMPLETED"):
                assert moved >= COMPLETION
        if action in ("COMPLETED", "INCOMPLETED"):
            assert snapshot["is_completed"] == (action == "COMPLETED")
        assert snapshot["is_completed"] == (snapshot["completed_at"] is not None)
        if action == "COMPLETED" and not may_be_undo:
            assert snapshot["completed_at"] == timestamp
        if action == "DELETED":
            assert snapshot == {name: task[name] for name in FIELDS}, "DELETED does not keep the task as it was"
        else:
            assert snapshot["updated_at"] == timestamp
        task = {**snapshot, "version": version}
        is_there = action != "DELETED"
        last = timestamp
    return task if is_there else None


def _snapshot(rendered: dict[str, Any]) -> dict[str, Any]:
    assert set(rendered) == set(FIELDS)
    times = {
        name: datetime.fromisoformat(rendered[name]) if rendered[name] is not None else None
        for name in ("created_at", "updated_at", "completed_at")
    }
    return {**rendered, **times}
