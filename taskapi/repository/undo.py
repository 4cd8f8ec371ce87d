"""What takes changes back: an undo of one change or of many, and the restoration of a task."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from taskapi.errors import ChangeNotFound, DeletionChosen, TaskNotFound, TooManyTasks, UndoConflict
from taskapi.repository.base import FOREVER, NOBODY, Base, Origin, Written, mismatch, versions
from taskapi.repository.tasks import Tags

MOST_TASKS = 1000
"""How many tasks one undo may change."""


@dataclass(frozen=True)
class Chosen:
    """The changes to take back, in one of four ways: one version of a task; what a request has written; or a change
    set; or an actor (None: nobody known) from `since` on, and before `until` (None: now).
    """

    task_id: UUID | None = None
    version: int | None = None
    request_id: str | None = None
    change_set: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def asked(self) -> dict[str, Any]:
        """What a client says to choose them, for the digest of the request."""
        if self.since is not None:
            until = {} if self.until is None else {"until": self.until.isoformat()}
            return {"actor": self.actor, "since": self.since.isoformat(), **until}
        if self.task_id is not None:
            return {"task_id": str(self.task_id), "version": self.version}
        return {"request_id": self.request_id} if self.request_id is not None else {"change_set": self.change_set}


@dataclass(frozen=True)
class Undone:
    """The answer to an undo, as two JSON arrays: what it has changed (in a dry run: would change), and what it has left
    because others had changed it since. And whether this repeats an earlier request's answer, without its conflicts.
    """

    changes: bytes
    conflicts: bytes
    replayed: bool


class Undo(Base):
    """The statements of sql/undo.sql."""

    def undo_change(
        self,
        *,
        task_id: UUID,
        version: int,
        expected: Tags = None,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> Written:
        """Take back the change that made this version of a task. The answer's task is null if that deleted it.

        Raises TaskNotFound, ChangeNotFound, VersionMismatch, UndoConflict.
        """
        chosen = Chosen(task_id=task_id, version=version)
        outcome, (_, _, task, now, _) = self._undo(
            "undo_change", chosen, {}, expected=expected, origin=origin, key=idempotency_key
        )
        return Written(task or b"null", outcome == "replayed", now)

    def undo(
        self,
        *,
        chosen: Chosen,
        dry_run: bool = False,
        skip_conflicts: bool = False,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> Undone:
        """Take back the chosen changes, all or none. With `skip_conflicts`, those that others have not changed since.
        A dry run gives the same answer, and writes nothing.

        Raises TaskNotFound, ChangeNotFound, TooManyTasks, UndoConflict.
        """
        options = {"dry_run": dry_run, "skip_conflicts": skip_conflicts}
        outcome, (changes, conflicts, *_) = self._undo("undo", chosen, options, origin=origin, key=idempotency_key)
        return Undone(changes, conflicts, outcome == "replayed")

    def restore_task(
        self,
        *,
        task_id: UUID,
        version: int | None = None,
        expected: Tags = None,
        origin: Origin = NOBODY,
        idempotency_key: str | None = None,
    ) -> Written:
        """Bring back the whole task as it was at this version; without one, a deleted task as it was at the end.

        Raises TaskNotFound, ChangeNotFound, DeletionChosen, VersionMismatch, UndoConflict.
        """
        asked = {"task_id": str(task_id), **({} if version is None else {"version": version})}
        outcome, (task, now, said) = self._write(
            "restore_task",
            "restore_task",
            asked,
            key=idempotency_key,
            origin=origin,
            expected=versions(expected),
            version=version,
        )
        if outcome == "deletion":
            raise DeletionChosen(f"version: {version} is the task's deletion; choose one before it")
        _refuse(outcome, version, now, expected, said)
        return Written(task, outcome == "replayed", now)

    def _undo(
        self,
        operation: str,
        chosen: Chosen,
        options: dict[str, bool],
        *,
        key: str | None,
        origin: Origin,
        expected: Tags = None,
    ) -> tuple[str, tuple[Any, ...]]:
        outcome, found = self._write(
            "undo_changes",
            operation,
            {**chosen.asked(), **{name: True for name, is_set in options.items() if is_set}},
            key=key,
            origin=origin,
            task_id=None if chosen.task_id is None else str(chosen.task_id),
            version=chosen.version,
            of_request=chosen.request_id,
            of_change_set=chosen.change_set,
            of_actor=chosen.actor,
            since=chosen.since,
            until=chosen.until or FOREVER,
            most=MOST_TASKS,
            expected=versions(expected),
            **{"dry_run": False, "skip_conflicts": False, **options},
        )
        *_, now, said = found
        if outcome == "too_many":
            raise TooManyTasks(
                f"The chosen changes are of {said.decode()} tasks; at most {MOST_TASKS} can be undone at once."
            )
        if outcome == "nothing":
            raise ChangeNotFound if chosen.task_id is None else TaskNotFound
        _refuse(outcome, chosen.version, now, expected, said)
        return outcome, found


def _refuse(outcome: str, version: int | None, now: int, expected: Tags, said: bytes | None) -> None:
    """Raise the error for an outcome that wrote nothing. `now`: the task's version."""
    if outcome == "no_version":
        raise ChangeNotFound(f"The task has no version {version}.")
    if outcome == "mismatch":
        raise mismatch(now, expected or (), said)
    if outcome == "conflict" and said:
        raise UndoConflict(f"This cannot be undone: {said.decode()}. Nothing was written.")
