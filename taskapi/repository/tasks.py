"""One task, and the list of all."""

from typing import Any, cast
from uuid import UUID

from taskapi.repository.base import Base, Written, json_text


class Tasks(Base):
    """The statements of sql/tasks.sql."""

    def create_task(self, *, idempotency_key: str | None = None, **task: Any) -> Written:
        """Create a task with these fields: title and description."""
        return self._write("create_task", "create_task", task, idempotency_key, task=json_text(task))

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
        return self._write("change_task", "update_task", asked, idempotency_key, changes=json_text(changes))

    def set_task_completed(self, *, task_id: UUID, is_completed: bool, idempotency_key: str | None = None) -> Written:
        """Complete a task, or reopen it. Raises TaskNotFound."""
        asked = {"task_id": str(task_id), "is_completed": is_completed}
        changes = json_text({"is_completed": is_completed})
        return self._write("change_task", "set_task_completed", asked, idempotency_key, changes=changes)

    def delete_task(self, *, task_id: UUID, idempotency_key: str | None = None) -> Written:
        """Delete a task. The answer is the deleted task. Raises TaskNotFound."""
        return self._write("delete_task", "delete_task", {"task_id": str(task_id)}, idempotency_key)
