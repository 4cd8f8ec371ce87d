"""What the service does with tasks: one method for each statement of sql/, keyword arguments in, JSON text out."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast
from uuid import UUID

import orjson

from taskapi.errors import (
    AnswerLost,
    DatabaseRewound,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ReadOnly,
    SchemaMismatch,
    TaskNotFound,
)

FARTHEST = 2**62
"""The largest offset: far enough from Postgres' largest bigint for sums with it. No history is as long."""

UNCOUNTED = 100
"""Entries that the totals may lag behind: whoever reads and finds more lets the totals catch up."""

OWNER = "default"
"""Whose tasks they are, as long as there is one owner."""


class Statements(Protocol):
    """What the repository needs of a database."""

    def run(self, name: str, parameters: dict[str, Any], *, repeatable: bool) -> tuple[Any, ...] | None:
        """See taskapi.database.database.Database.run."""


@dataclass(frozen=True)
class Written:
    """The answer to a write: the task as JSON text, and whether it is an earlier request's answer, given again.

    For a write on many tasks, `task` is an array of those that changed, in the order of the request.
    """

    task: bytes
    replayed: bool


class Repository:
    """Tasks and their history. Every method is one statement, one round trip and one transaction.

    All methods raise DatabaseUnavailable. Those that write take an optional `idempotency_key`, and raise
    IdempotencyKeyReused when it belongs to another request.
    """

    def __init__(self, database: Statements) -> None:
        self._database = database

    def create_task(self, *, idempotency_key: str | None = None, **task: Any) -> Written:
        """Create a task with these fields: title and description."""
        return self._write("create_task", "create_task", task, idempotency_key, task=_json(task))

    def list_tasks(self) -> bytes:
        """Every task, as a JSON array: incomplete first, then the newest first."""
        return cast(bytes, self._read("list_tasks")[0])

    def get_task(self, *, task_id: UUID) -> bytes:
        """One task. Raises TaskNotFound."""
        return cast(bytes, self._read("get_task", task_id=str(task_id))[0])

    def update_task(self, *, task_id: UUID, changes: dict[str, Any], idempotency_key: str | None = None) -> Written:
        """Set the title and/or the description to those in `changes`. Raises TaskNotFound."""
        asked = {
            "task_id": str(task_id),
            "title": changes.get("title"),
            "sets_description": "description" in changes,
            "description": changes.get("description"),
            **changes,
        }
        return self._write("change_task", "update_task", asked, idempotency_key, changes=_json(changes))

    def set_task_completed(self, *, task_id: UUID, is_completed: bool, idempotency_key: str | None = None) -> Written:
        """Complete a task, or reopen it. Raises TaskNotFound."""
        asked = {"task_id": str(task_id), "is_completed": is_completed}
        changes = _json({"is_completed": is_completed})
        return self._write("change_task", "set_task_completed", asked, idempotency_key, changes=changes)

    def delete_task(self, *, task_id: UUID, idempotency_key: str | None = None) -> Written:
        """Delete a task; the answer is the task as it was. Raises TaskNotFound."""
        return self._write("delete_task", "delete_task", {"task_id": str(task_id)}, idempotency_key)

    def create_tasks(self, *, tasks: list[dict[str, Any]], idempotency_key: str | None = None) -> Written:
        """Create a task for each `{title, description}`, all or none. The last one is the newest."""
        # In this order, which keys stand for, too.
        asked = [{"title": task["title"], "description": task["description"], **task} for task in tasks]
        return self._write("create_tasks", "create_tasks", {"tasks": _json(asked)}, idempotency_key)

    def set_tasks_completed(
        self, *, task_ids: list[UUID], is_completed: bool, idempotency_key: str | None = None
    ) -> Written:
        """Complete the tasks, or reopen them, all or none; each id once.

        Raises TaskNotFound, with the ids that are not there, and then nothing was written.
        """
        asked = {"task_ids": _array(task_ids), "is_completed": is_completed}
        changes = [{"id": str(task_id), "is_completed": is_completed} for task_id in task_ids]
        return self._write("change_tasks", "set_tasks_completed", asked, idempotency_key, changes=_json(changes))

    def delete_tasks(self, *, task_ids: list[UUID], idempotency_key: str | None = None) -> Written:
        """Delete the tasks, all or none; each id once. The answer is the tasks as they were.

        Raises TaskNotFound, with the ids that are not there, and then nothing was written.
        """
        return self._write("delete_tasks", "delete_tasks", {"task_ids": _array(task_ids)}, idempotency_key)

    def list_tasks_page(
        self,
        *,
        is_completed: bool | None,
        text: str | None,
        after: tuple[bool, datetime, UUID] | None,
        limit: int,
        excerpt: int,
    ) -> bytes:
        """The first `limit` tasks of one state, or (None) of both, as a JSON array in the order of list_tasks.

        `text` is looked for in titles and descriptions, whatever its case; `after` is the sort key (is_completed,
        created_at, id) of the task before the page. A description is its first `excerpt` characters.
        """
        after_is_completed, after_created_at, after_id = after or (None, None, None)
        row = self._read(
            "list_tasks_page",
            is_completed=is_completed,
            pattern=None if text is None else _any_case(text),
            excerpt=excerpt,
            after_is_completed=after_is_completed,
            after_created_at=after_created_at,
            after_id=str(after_id) if after_id else None,
            limit=limit,
        )
        return cast(bytes, row[0])

    def get_task_with_history(self, *, task_id: UUID, entries: int) -> bytes:
        """One task and the latest `entries` of its history, as the JSON object {task, history}. Raises TaskNotFound."""
        return cast(bytes, self._read("get_task_with_history", task_id=str(task_id), entries=entries)[0])

    def list_history(
        self, *, task_id: UUID | None, action_type: str | None, limit: int, offset: int
    ) -> tuple[int, bytes]:
        """How many entries the selection has, and `limit` of them from `offset` on, newest first, as a JSON array."""
        page = {"limit": limit, "offset": min(offset, FARTHEST)}
        if task_id is not None:
            row = self._read("list_history_by_task", task_id=str(task_id), action_type=action_type, **page)
            return row[0], row[1]
        if action_type is not None:
            total, items, uncounted = self._read("list_history_by_action", action_type=action_type, **page)
        else:
            total, items, uncounted = self._read("list_history", **page)
        self._keep_totals(uncounted)
        return total, items

    def weekly_stats(self, *, at: datetime | None = None) -> bytes:
        """The figures of the week (Monday to Sunday, UTC) that holds `at`, by default now, as a JSON object."""
        stats, uncounted = self._read("weekly_stats", at=at)
        self._keep_totals(uncounted)
        return cast(bytes, stats)

    def schema_version(self) -> str:
        """The migration that the database's schema is at.

        Raises ReadOnly where the server takes no writes, SchemaMismatch where a table is missing.
        """
        version, is_read_only, missing = self._read("schema_version")
        if is_read_only:
            raise ReadOnly
        if missing:
            raise SchemaMismatch(
                f"The database has no table {missing.decode()}, though its schema is at {version.decode()}: restore it"
                " from a backup."
            )
        return cast(bytes, version).decode()

    def check_transactions(self) -> None:
        """Raises DatabaseRewound where the database was loaded into a younger cluster than its own."""
        if self._read("is_rewound")[0]:
            raise DatabaseRewound

    def _keep_totals(self, uncounted: int) -> None:
        """Let the totals catch up where a read has found many uncounted entries: once in a while a round trip more."""
        if uncounted > UNCOUNTED:
            # The read has its answer: it does not fail with this.
            with suppress(DatabaseUnavailable):
                self._read("fold_totals")

    def _read(self, name: str, **parameters: Any) -> tuple[Any, ...]:
        try:
            row = self._database.run(name, {"owner": OWNER, **parameters}, repeatable=True)
        except OutcomeUnknown as error:
            raise AnswerLost from error
        if row is None:
            raise TaskNotFound
        return row

    def _write(self, name: str, operation: str, asked: dict[str, Any], key: str | None, **parameters: Any) -> Written:
        """Run the statement `name`. The key stands for the `operation` and what was `asked`; `parameters` are those
        that the statement needs besides."""
        digest = _digest(operation, asked) if key is not None else None
        arguments = {"owner": OWNER, **asked, **parameters, "idempotency_key": key, "request_digest": digest}
        row = self._database.run(name, arguments, repeatable=key is not None)
        if row is None:
            raise TaskNotFound
        outcome, task = row[0].decode(), row[1]
        if outcome == "key_reused":
            raise IdempotencyKeyReused
        if outcome == "missing":
            raise TaskNotFound(f"There is no such task: {', '.join(orjson.loads(task))}.")
        return Written(task, replayed=outcome == "replayed")


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _array(ids: list[UUID]) -> str:
    """The ids as Postgres writes an array: psycopg2 would make it an array of text."""
    return f"{{{','.join(map(str, ids))}}}"


def _any_case(text: str) -> str:
    """A regular expression of Postgres' that finds `text` whatever its case, in every locale.

    Each character stands for itself and for its other cases, as a number: none has a meaning of its own.
    """
    return "".join("[" + "".join(rf"\U{ord(case):08x}" for case in _cases(character)) + "]" for character in text)


def _cases(character: str) -> list[str]:
    """The character in its cases, those of one character each: ß, whose upper case is SS, has no other."""
    upper, lower = character.upper(), character.lower()
    return sorted({case for case in (character, upper, lower, upper.lower(), lower.upper()) if len(case) == 1})


def _digest(operation: str, asked: dict[str, Any]) -> bytes:
    """What makes two requests the same: the operation, the task in its path, and the values of its body.

    Digests are kept for good, so that what is hashed here never changes: neither the operations' names nor the fields.
    A field that is added to a body later belongs into `asked` only where a client gives it.
    """
    return hashlib.sha256(orjson.dumps([operation, asked], option=orjson.OPT_SORT_KEYS)).digest()
