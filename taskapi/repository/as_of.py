"""What was there at a moment: a task, the list, and each version of a task."""

from datetime import datetime
from typing import Any
from uuid import UUID

from taskapi.errors import MomentToCome
from taskapi.repository.base import Base, Found

WALK = 10_000
"""How many tasks a page of the list looks at one by one. To find tasks that are rarer in it, it looks at the actions of
all entries at once."""


class AsOf(Base):
    """The statements of sql/as_of.sql. Those with a moment raise MomentToCome if it is too far ahead."""

    def get_task_as_of(self, *, task_id: UUID, as_of: datetime) -> Found:
        """One task, and the version that it had at the moment. Raises TaskNotFound if it was not there then."""
        return Found(*known(self._read("get_task_as_of", as_of=as_of, task_id=str(task_id))))

    def list_tasks_as_of(
        self,
        *,
        as_of: datetime,
        is_completed: bool | None = None,
        after: tuple[bool, datetime, UUID] | None = None,
        limit: int,
    ) -> tuple[bytes, bytes | None]:
        """The first `limit` tasks of one state, or of both (None), in the order that the list had at the moment, as a
        JSON array. If there are more, also the sort key of the last one, as a JSON object.

        `after` is the sort key (is_completed, created_at, id) of the task before the page.
        """
        after_is_completed, after_created_at, after_id = after or (None, None, None)
        row = self._read(
            "list_tasks_as_of",
            as_of=as_of,
            is_completed=is_completed,
            after_is_completed=after_is_completed,
            after_created_at=after_created_at,
            after_id=str(after_id) if after_id else None,
            walk=WALK,
            limit=limit,
        )
        tasks, last = known(row)
        return tasks, last

    def list_versions(self, *, task_id: UUID, after: int, limit: int) -> tuple[bytes, bool]:
        """The first `limit` versions of a task after this one as a JSON array, oldest first, and whether there are
        more. Raises TaskNotFound if there never was such a task."""
        row = self._read("list_versions", task_id=str(task_id), after=min(after, 2**31 - 1), limit=limit)
        return row[0], row[1]


def known(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The answer of a statement with a moment, after its outcome. Raises MomentToCome."""
    if row[0] == b"to_come":
        raise MomentToCome
    return row[1:]
