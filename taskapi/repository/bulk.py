"""Writes on many tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from taskapi.errors import TaskNotFound, VersionMismatch
from taskapi.repository.base import NOBODY, Base, Origin, array, json_text, mismatch_text

MOST_TOLD = 5
"""Of how many tasks at another version the error tells. The statements say of as many what changed since."""


@dataclass(frozen=True)
class ManyWritten:
    """The answer to a write on many tasks: all that the request names, in its order, as a JSON array; which of them
    changed, as their places from 0 on; and whether this repeats an earlier request's answer.

    The tasks are as they are after the write, and deleted ones as they were. Where an answer is repeated, those that
    changed then are as that change left them, and the others as they are now, null if they are gone.
    """

    tasks: bytes
    changed: Sequence[int]
    replayed: bool


class Bulk(Base):
    """The statements of sql/bulk.sql. Each write is done for all of its tasks or for none.

    All but create_tasks raise TaskNotFound, with the ids that are not there, and VersionMismatch where a task is at
    another version than the request says. Each id may appear once.
    """

    def create_tasks(
        self, *, tasks: list[dict[str, Any]], origin: Origin = NOBODY, idempotency_key: str | None = None
    ) -> ManyWritten:
        """Create a task for each `{title, description}`. The last one is the newest."""
        # In this order of fields: the digests of stored keys depend on it.
        asked = [{"title": task["title"], "description": task["description"], **task} for task in tasks]
        return self._write_many(
            "create_tasks", "create_tasks", {"tasks": json_text(asked)}, key=idempotency_key, origin=origin
        )

    def update_tasks(
        self, *, changes: list[dict[str, Any]], origin: Origin = NOBODY, idempotency_key: str | None = None
    ) -> ManyWritten:
        """Set the title, the description or both of each task.

        Each change is the `id` of a task, maybe its `version`, and the fields to set.
        """
        elements = [{**change, "id": str(change["id"])} for change in changes]
        return self._write_many(
            "change_tasks",
            "update_tasks",
            {"changes": elements},
            key=idempotency_key,
            origin=origin,
            elements=elements,
        )

    def set_tasks_completed(
        self,
        *,
        task_ids: list[UUID],
        is_completed: bool,
        versions: Mapping[UUID, int] | None = None,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> ManyWritten:
        """Complete the tasks, or reopen them. `versions`: those that some of the tasks must have."""
        elements = [{**element, "is_completed": is_completed} for element in _elements(task_ids, versions)]
        return self._write_many(
            "change_tasks",
            "set_tasks_completed",
            {"task_ids": array(task_ids), "is_completed": is_completed, **_sent(versions)},
            key=idempotency_key,
            origin=origin,
            elements=elements,
        )

    def delete_tasks(
        self,
        *,
        task_ids: list[UUID],
        versions: Mapping[UUID, int] | None = None,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> ManyWritten:
        """Delete the tasks. `versions`: those that some of the tasks must have."""
        return self._write_many(
            "delete_tasks",
            "delete_tasks",
            {"task_ids": array(task_ids), **_sent(versions)},
            key=idempotency_key,
            origin=origin,
            elements=_elements(task_ids, versions),
        )

    def _write_many(
        self,
        name: str,
        operation: str,
        asked: dict[str, Any],
        *,
        key: str | None,
        origin: Origin,
        elements: Sequence[dict[str, Any]] = (),
    ) -> ManyWritten:
        outcome, (tasks, changed) = self._write(
            name, operation, asked, key=key, origin=origin, elements=json_text(elements)
        )
        if outcome == "missing":
            raise TaskNotFound(f"There is no such task: {', '.join(orjson.loads(tasks))}.")
        if outcome == "mismatch":
            raise _mismatches(orjson.loads(tasks), of_one=len(elements) == 1)
        return ManyWritten(tasks, changed or [], outcome == "replayed")


def _elements(task_ids: list[UUID], versions: Mapping[UUID, int] | None) -> list[dict[str, Any]]:
    """What the statements take: the id of each task, and its version where one is given."""
    given = versions or {}
    return [
        {"id": str(task_id), "version": given[task_id]} if task_id in given else {"id": str(task_id)}
        for task_id in task_ids
    ]


def _sent(versions: Mapping[UUID, int] | None) -> dict[str, Any]:
    """What the versions add to a request's digest: nothing where none is given."""
    return {"versions": {str(task_id): version for task_id, version in versions.items()}} if versions else {}


def _mismatches(found: list[dict[str, Any]], *, of_one: bool) -> VersionMismatch:
    """The error for these tasks. It names them, unless the request is about one task only."""
    texts = []
    for task in found[:MOST_TOLD]:
        text = mismatch_text(task["version"], task["expected"], task["changes"])
        texts.append(text if of_one else f"{task['id']}: {text}")
    if len(found) > MOST_TOLD:
        texts.append(f"{len(found) - MOST_TOLD} more tasks are at another version than the request says.")
    return VersionMismatch(" ".join(texts))
