"""The operations on tasks: one method for each statement of sql/, keyword arguments in, JSON text out."""

import hashlib
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol, cast
from uuid import UUID

import orjson

from taskapi.errors import (
    AnswerLost,
    Conflict,
    DatabaseRewound,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ReadOnly,
    RolledBack,
    SchemaMismatch,
    TaskNotFound,
)

FARTHEST = 2**62
"""The largest offset. Sums with it stay below Postgres' largest bigint, and no history is as long."""

UNCOUNTED = 100
"""How many entries the totals may lag behind. A read that finds more updates the totals."""

REFUSED_PAUSE, BUSY_PAUSE = 60.0, 1.0
"""Seconds without another try after the database has refused to update the totals, such as on a server that takes no
writes; and after it had no connection or no time for it."""

NEAR = 500
"""How many entries a page may skip one by one. To find a page that is farther, whole days are skipped."""

MONDAY, WEEK = 4 * 24 * 60 * 60, 7 * 24 * 60 * 60
"""The first Monday of 1970 as seconds since 1970, and the seconds of a week. In UTC no clock changes."""

OWNER = "default"
"""The owner of all tasks, as long as there is only one owner."""


class Statements(Protocol):
    """The repository's view of a database."""

    def run(
        self, name: str, parameters: dict[str, Any], *, repeatable: bool, once: bool = False
    ) -> tuple[Any, ...] | None:
        """See taskapi.database.database.Database.run."""


@dataclass(frozen=True)
class Written:
    """The answer to a write: the task as JSON text, and whether it repeats an earlier request's answer.

    For a write on many tasks, `task` is an array of the tasks that changed, in the order of the request.
    """

    task: bytes
    replayed: bool


class Repository:
    """Tasks and their history. Every method is one statement, one round trip and one transaction. A read that finds
    many uncounted entries runs a second one, which updates the totals.

    All methods may raise DatabaseUnavailable. Writes take an optional `idempotency_key`, and raise IdempotencyKeyReused
    if it belongs to another request.
    """

    def __init__(self, database: Statements) -> None:
        self._database = database
        self._fold_again = -math.inf

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
        """Set the title, the description or both, as in `changes`. Raises TaskNotFound."""
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
        """Delete a task. The answer is the deleted task. Raises TaskNotFound."""
        return self._write("delete_task", "delete_task", {"task_id": str(task_id)}, idempotency_key)

    def create_tasks(self, *, tasks: list[dict[str, Any]], idempotency_key: str | None = None) -> Written:
        """Create a task for each `{title, description}`, all or none. The last one is the newest."""
        # In this order of fields: the digests of stored keys depend on it.
        asked = [{"title": task["title"], "description": task["description"], **task} for task in tasks]
        return self._write("create_tasks", "create_tasks", {"tasks": _json(asked)}, idempotency_key)

    def set_tasks_completed(
        self, *, task_ids: list[UUID], is_completed: bool, idempotency_key: str | None = None
    ) -> Written:
        """Complete the tasks, or reopen them, all or none. Each id may appear once.

        Raises TaskNotFound, with the ids that are not there, and then nothing was written.
        """
        asked = {"task_ids": _array(task_ids), "is_completed": is_completed}
        changes = [{"id": str(task_id), "is_completed": is_completed} for task_id in task_ids]
        return self._write("change_tasks", "set_tasks_completed", asked, idempotency_key, changes=_json(changes))

    def delete_tasks(self, *, task_ids: list[UUID], idempotency_key: str | None = None) -> Written:
        """Delete the tasks, all or none. Each id may appear once. The answer is the deleted tasks.

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
        """The first `limit` tasks of one state, or of both (None), as a JSON array in the order of list_tasks.

        Searches titles and descriptions for `text`, in any case. `after` is the sort key (is_completed, created_at,
        id) of the task before the page. Descriptions are cut to `excerpt` characters.
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
        """The number of selected entries, and `limit` of them from `offset` on, newest first, as a JSON array."""
        page: dict[str, Any] = {"limit": limit, "offset": min(offset, FARTHEST)}
        if task_id is not None:
            row = self._read("list_history_by_task", task_id=str(task_id), action_type=action_type, **page)
            return row[0], row[1]
        if action_type is not None:
            total, items, uncounted = self._read("list_history_by_action", action_type=action_type, **page)
        elif offset < NEAR:
            total, items, uncounted = self._read("list_history", **page)
        else:
            total, items, uncounted = self._read("list_far_history", **page)
        self._keep_totals(uncounted)
        return total, items

    def weekly_stats(self, *, at: datetime | None = None) -> bytes:
        """The figures of the week (Monday to Sunday, UTC) of `at`, by default now, as a JSON object."""
        now = time.time() if at is None else at.timestamp()
        starts = MONDAY + int((now - MONDAY) // WEEK) * WEEK
        ends = starts + WEEK
        created, completed, complete, tasks, uncounted = self._read("weekly_stats", starts=starts, ends=ends)
        self._keep_totals(uncounted)
        return orjson.dumps(
            {
                "tasks_created_this_week": created,
                "tasks_completed_this_week": completed,
                "total_completed": complete,
                "total_incomplete": tasks - complete,
                "total_tasks": tasks,
                "week_start": _moment(starts),
                "week_end": _moment(ends - 1),
            }
        )

    def schema_version(self) -> str:
        """The migration of the database's schema.

        Raises ReadOnly if the server takes no writes, SchemaMismatch if a table is missing.
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
        """Raise DatabaseRewound if the database was loaded into a younger cluster than its own."""
        if self._read("is_rewound")[0]:
            raise DatabaseRewound

    def _keep_totals(self, uncounted: int) -> None:
        """Update the totals if a read has found many uncounted entries. Sometimes this costs one more round trip.

        The read already has its answer: it does not fail with this, and does not wait for a second try.
        """
        if uncounted > UNCOUNTED and time.monotonic() >= self._fold_again:
            # One at a time: who waits for a lock keeps a connection.
            self._fold_again = math.inf
            pause = 0.0
            try:
                self._read("fold_totals", once=True)
            except DatabaseUnavailable as error:
                is_refused = isinstance(error, (ReadOnly, RolledBack)) and not isinstance(error, Conflict)
                pause = REFUSED_PAUSE if is_refused else BUSY_PAUSE
            finally:
                self._fold_again = time.monotonic() + pause

    def _read(self, name: str, *, once: bool = False, **parameters: Any) -> tuple[Any, ...]:
        try:
            row = self._database.run(name, {"owner": OWNER, **parameters}, repeatable=True, once=once)
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


@lru_cache(maxsize=16)
def _moment(seconds: int) -> str:
    """A number of seconds since 1970 as the contract writes a moment, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _array(ids: list[UUID]) -> str:
    """The ids as a Postgres array literal: psycopg2 would make an array of text."""
    return f"{{{','.join(map(str, ids))}}}"


def _any_case(text: str) -> str:
    """A Postgres regular expression that finds `text` in any case, in every locale.

    Each character becomes a set of its cases, written as numbers, so none has a special meaning.
    """
    return "".join("[" + "".join(rf"\U{ord(case):08x}" for case in _cases(character)) + "]" for character in text)


def _cases(character: str) -> list[str]:
    """The cases of a character that are one character each: ß has no other case, since its upper case is SS."""
    upper, lower = character.upper(), character.lower()
    return sorted({case for case in (character, upper, lower, upper.lower(), lower.upper()) if len(case) == 1})


def _digest(operation: str, asked: dict[str, Any]) -> bytes:
    """The digest that identifies a request: of the operation, the task in the path, and the values of the body.

    Digests are kept for good, so the operations' names and the fields that are hashed here must never change. Add a
    new field of a body to `asked` only if a client sends it.
    """
    return hashlib.sha256(orjson.dumps([operation, asked], option=orjson.OPT_SORT_KEYS)).digest()
