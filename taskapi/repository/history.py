"""The history, page by page."""

from typing import Any
from uuid import UUID

from taskapi.repository.base import Base

FARTHEST = 2**62
"""The largest offset. Sums with it stay below Postgres' largest bigint, and no history is as long."""

NEAR = 500
"""How many entries a page may skip one by one. To find a page that is farther, whole days are skipped."""


class History(Base):
    """The statements of sql/history.sql."""

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
