"""Writes on many tasks."""

from typing import Any
from uuid import UUID

from taskapi.repository.base import Base, Written, array, json_text


class Bulk(Base):
    """The statements of sql/bulk.sql."""

    def create_tasks(self, *, tasks: list[dict[str, Any]], idempotency_key: str | None = None) -> Written:
        """Create a task for each `{title, description}`, all or none. The last one is the newest."""
        # In this order of fields: the digests of stored keys depend on it.
        asked = [{"title": task["title"], "description": task["description"], **task} for task in tasks]
        return self._write("create_tasks", "create_tasks", {"tasks": json_text(asked)}, idempotency_key)

    def set_tasks_completed(
        self, *, task_ids: list[UUID], is_completed: bool, idempotency_key: str | None = None
    ) -> Written:
        """Complete the tasks, or reopen them, all or none. Each id may appear once.

        Raises TaskNotFound, with the ids that are not there, and then nothing was written.
        """
        asked = {"task_ids": array(task_ids), "is_completed": is_completed}
        changes = [{"id": str(task_id), "is_completed": is_completed} for task_id in task_ids]
        return self._write("change_tasks", "set_tasks_completed", asked, idempotency_key, changes=json_text(changes))

    def delete_tasks(self, *, task_ids: list[UUID], idempotency_key: str | None = None) -> Written:
        """Delete the tasks, all or none. Each id may appear once. The answer is the deleted tasks.

        Raises TaskNotFound, with the ids that are not there, and then nothing was written.
        """
        return self._write("delete_tasks", "delete_tasks", {"task_ids": array(task_ids)}, idempotency_key)
