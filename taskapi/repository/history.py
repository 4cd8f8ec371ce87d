"""The history, page by page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from taskapi.repository.base import Base

FARTHEST = 2**62
"""The largest offset. Sums with it stay below Postgres' largest bigint, and no history is as long."""

NEAR = 500
"""How many entries a page may skip one by one. To find a page that is farther, whole days are skipped."""


PLAIN = frozenset({"task_id", "action_type"})
"""The filters whose pages are found by their numbers."""


@dataclass(frozen=True)
class Entries:
    """A page of the history: the number of selected entries, those of the page as a JSON array, and whether more of
    them follow."""

    total: int
    items: bytes
    has_more: bool


class History(Base):
    """The statements of sql/history.sql."""

    def history_page(self, *, limit: int, offset: int, **filters: Any) -> Entries:
        """A page of the entries that the filters select (those of select_history), newest first, from `offset` on."""
        if filters.keys() - PLAIN:
            return self.select_history(**filters, limit=limit, offset=offset)
        plain = {name: filters.get(name) for name in PLAIN}
        total, items = self.list_history(**plain, limit=limit, offset=offset)
        return Entries(total, items, offset + limit < total)

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

    def select_history(
        self,
        *,
        task_id: UUID | None = None,
        action_type: str | None = None,
        actor: str | None = None,
        request_id: str | None = None,
        change_set: str | None = None,
        timestamp_from: datetime | None = None,
        timestamp_before: datetime | None = None,
        after: tuple[datetime, UUID] | None = None,
        limit: int,
        offset: int = 0,
    ) -> Entries:
        """`limit` entries of those that all of the filters select (None: any), newest first: from `offset` on, or
        after the entry with this sort key (timestamp, task_id)."""
        after_timestamp, after_task_id = after or (None, None)
        total, items, uncounted, has_more = self._read(
            "select_history",
            task_id=str(task_id) if task_id else None,
            action_type=action_type,
            actor=actor,
            request_id=request_id,
            change_set=change_set,
            timestamp_from=timestamp_from,
            timestamp_before=timestamp_before,
            after_timestamp=after_timestamp,
            after_task_id=str(after_task_id) if after_task_id else None,
            limit=limit,
            offset=min(offset, FARTHEST),
        )
        self._keep_totals(uncounted)
        return Entries(total, items, has_more)
