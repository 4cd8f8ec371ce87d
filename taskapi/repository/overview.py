"""What an agent looks at: a page of tasks in short, and one task with its history."""

from datetime import datetime
from typing import cast
from uuid import UUID

from taskapi.repository.base import Base


class Overview(Base):
    """The statements of sql/overview.sql."""

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


def _any_case(text: str) -> str:
    """A Postgres regular expression that finds `text` in any case, in every locale.

    Each character becomes a set of its cases, written as numbers, so none has a special meaning.
    """
    return "".join("[" + "".join(rf"\U{ord(case):08x}" for case in _cases(character)) + "]" for character in text)


def _cases(character: str) -> list[str]:
    """The cases of a character that are one character each: ß has no other case, since its upper case is SS."""
    upper, lower = character.upper(), character.lower()
    return sorted({case for case in (character, upper, lower, upper.lower(), lower.upper()) if len(case) == 1})
