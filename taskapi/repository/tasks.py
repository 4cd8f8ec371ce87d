"""One task, and lists of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from taskapi.errors import SearchTooLong, TimeUp
from taskapi.repository.base import EVER, FOREVER, NOBODY, Base, Found, Origin, Written, json_text, mismatch, versions

Tags = Sequence[str] | None
"""The tags of an If-Match, of which the task's version must be one. None: any version."""

Range = tuple[datetime | None, datetime | None]
"""From the first moment on, and before the second one. None: without that end."""

ANY: Range = (None, None)


@dataclass(frozen=True)
class Listed:
    """A list of tasks as a JSON array, and the position in the history that it shows: None on a standby.

    `tasks` is None where nothing has changed since one of the known positions, which is then the `position`. `last` is
    the page's last task if there are more, and `total` the number of tasks on all pages if it was asked for.
    """

    tasks: bytes | None
    position: str | None
    last: bytes | None = None
    total: int | None = None


class Tasks(Base):
    """The statements of sql/tasks.sql."""

    def create_task(self, *, origin: Origin = NOBODY, idempotency_key: str | None = None, **task: Any) -> Written:
        """Create a task with these fields: title and description."""
        return self._write_one(
            "create_task", "create_task", task, key=idempotency_key, origin=origin, task=json_text(task)
        )

    def list_tasks(self, *, known: Sequence[str] = ()) -> Listed:
        """Every task: incomplete first, then the newest first. `known`: the positions of lists that the client has."""
        tasks, position = self._read("list_tasks", known=_texts(known))
        return Listed(tasks, _text(position))

    def list_tasks_page(
        self,
        *,
        is_completed: bool | None = None,
        text: str | None = None,
        created: Range = ANY,
        updated: Range = ANY,
        completed: Range = ANY,
        after: tuple[bool, datetime, UUID] | None = None,
        limit: int | None = None,
        counts: bool = False,
        known: Sequence[str] = (),
    ) -> Listed:
        """The first `limit` tasks (None: all) that the filters select, in the order of list_tasks.

        Searches titles and descriptions for `text`, in any case. `after` is the sort key (is_completed, created_at,
        id) of the task before the page. Raises SearchTooLong if there are too many tasks to look through.
        """
        after_is_completed, after_created_at, after_id = after or (None, None, None)
        begins_completed = is_completed if after_is_completed is None else after_is_completed
        try:
            tasks, position, last, total = self._read(
                "list_tasks_page",
                own_plan=text is not None,
                known=_texts(known),
                is_completed=is_completed,
                pattern=None if text is None else _any_case(text),
                created_from=created[0] or EVER,
                created_before=created[1] or FOREVER,
                updated_from=updated[0],
                updated_before=updated[1],
                completed_from=completed[0],
                completed_before=completed[1],
                begins_completed=bool(begins_completed),
                after_is_completed=after_is_completed,
                after_created_at=after_created_at or FOREVER,
                after_id=str(after_id) if after_id else None,
                limit=limit,
                counts=counts,
            )
        except TimeUp as error:
            if text is None and not counts and updated == completed == ANY:
                raise
            raise SearchTooLong from error
        return Listed(tasks, _text(position), last, total)

    def get_task(self, *, task_id: UUID) -> Found:
        """One task. Raises TaskNotFound."""
        return Found(*self._read("get_task", task_id=str(task_id)))

    def update_task(
        self,
        *,
        task_id: UUID,
        changes: dict[str, Any],
        expected: Tags = None,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> Written:
        """Set the title, the description or both, as in `changes`. Raises TaskNotFound, VersionMismatch."""
        asked = {
            "task_id": str(task_id),
            "title": changes.get("title"),
            "sets_description": "description" in changes,
            "description": changes.get("description"),
            **changes,
        }
        return self._write_one(
            "change_task",
            "update_task",
            asked,
            key=idempotency_key,
            origin=origin,
            expected=expected,
            changes=json_text(changes),
        )

    def set_task_completed(
        self,
        *,
        task_id: UUID,
        is_completed: bool,
        expected: Tags = None,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> Written:
        """Complete a task, or reopen it. Raises TaskNotFound, VersionMismatch."""
        asked = {"task_id": str(task_id), "is_completed": is_completed}
        changes = json_text({"is_completed": is_completed})
        return self._write_one(
            "change_task",
            "set_task_completed",
            asked,
            key=idempotency_key,
            origin=origin,
            expected=expected,
            changes=changes,
        )

    def delete_task(
        self, *, task_id: UUID, expected: Tags = None, origin: Origin = NOBODY, idempotency_key: str | None = None
    ) -> Written:
        """Delete a task. The answer is the deleted task. Raises TaskNotFound, VersionMismatch."""
        asked = {"task_id": str(task_id)}
        return self._write_one(
            "delete_task", "delete_task", asked, key=idempotency_key, origin=origin, expected=expected
        )

    def _write_one(
        self,
        name: str,
        operation: str,
        asked: dict[str, Any],
        *,
        key: str | None,
        origin: Origin,
        expected: Tags = None,
        **parameters: Any,
    ) -> Written:
        outcome, (task, version) = self._write(
            name, operation, asked, key=key, origin=origin, expected=versions(expected), **parameters
        )
        if outcome == "mismatch":
            raise mismatch(version, expected or (), task)
        return Written(task, outcome == "replayed", version)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _texts(values: Sequence[str]) -> str:
    """Positions as a Postgres array literal."""
    return "{" + ",".join(f'"{value}"' for value in values) + "}"


def _any_case(text: str) -> str:
    """A Postgres regular expression that finds `text` in any case, in every locale.

    Each character becomes a set of its cases, written as numbers, so none has a special meaning.
    """
    return "".join("[" + "".join(rf"\U{ord(case):08x}" for case in _cases(character)) + "]" for character in text)


def _cases(character: str) -> list[str]:
    """The cases of a character that are one character each: ß has no other case, since its upper case is SS."""
    upper, lower = character.upper(), character.lower()
    return sorted({case for case in (character, upper, lower, upper.lower(), lower.upper()) if len(case) == 1})
