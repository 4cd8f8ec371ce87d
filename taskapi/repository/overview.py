"""What an agent looks at: one task with its history."""

from typing import cast
from uuid import UUID

from taskapi.repository.base import Base


class Overview(Base):
    """The statements of sql/overview.sql."""

    def get_task_with_history(self, *, task_id: UUID, entries: int) -> bytes:
        """One task and the latest `entries` of its history, as the JSON object {task, history}. Raises TaskNotFound."""
        return cast(bytes, self._read("get_task_with_history", task_id=str(task_id), entries=entries)[0])
