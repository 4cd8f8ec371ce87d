"""The tools: names, arguments, results and what they do. Agents read each function's docstring."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import orjson
from marshmallow import Schema, ValidationError
from mcp_types import Tool, ToolAnnotations

from taskapi.cursors import Cursor, position_cursor
from taskapi.mcp import arguments as schemas
from taskapi.mcp import compact
from taskapi.mcp.outputs import COUNT, ENTRY, LINE, SHORT, STATISTICS, STRING, TASK, TRUE, array, json_schema, record
from taskapi.repository import Repository
from taskapi.repository.base import Origin, Written
from taskapi.repository.bulk import ManyWritten
from taskapi.repository.undo import Chosen, Undone

Run = Callable[..., dict[str, Any]]

RECENT = 10
"""How many history entries `get_task` returns."""

WRITTEN = record({"tasks": array(SHORT)}, {"replayed": TRUE})
CHANGED = record({"tasks": array(SHORT), "unchanged": array(STRING)}, {"replayed": TRUE})
UNDONE = record({"changes": array(SHORT), "conflicts": array(SHORT)}, {"change_set": STRING, "replayed": TRUE})

STATES = {"open": False, "completed": True, "all": None}


@dataclass(frozen=True)
class Entry:
    """One tool: its definition for clients, the schema that checks its arguments, the function that runs, and whether
    it may change tasks. Such a function gets the `origin` of the change, too."""

    definition: Tool
    arguments: Schema
    run: Run
    writes: bool


TOOLS: dict[str, Entry] = {}

FORMER: dict[str, Entry] = {}
"""Tools of earlier versions. Clients that know them may go on to call them, but they are not listed."""


def tool(
    arguments: Schema,
    result: dict[str, Any],
    *,
    writes: bool = False,
    destroys: bool = False,
    repeatable: bool = True,
    listed: bool = True,
) -> Callable[[Run], Run]:
    """Register a function as a tool.

    `arguments` checks what comes in; `result` is the JSON Schema of the answer. `writes`: it may change tasks;
    `destroys`: it may remove tasks or text; `repeatable`: the same call again changes nothing more; `listed`: clients
    are told of it.
    """
    hints = ToolAnnotations(
        read_only_hint=not writes, destructive_hint=destroys, idempotent_hint=repeatable, open_world_hint=False
    )

    def register(run: Run) -> Run:
        definition = Tool(
            name=run.__name__,
            description=inspect.getdoc(run),
            input_schema=json_schema(arguments),
            output_schema=result,
            annotations=hints,
        )
        (TOOLS if listed else FORMER)[run.__name__] = Entry(definition, arguments, run, writes)
        return run

    return register


@tool(schemas.CreateTasks(), WRITTEN, writes=True, repeatable=False)
def create_tasks(
    repository: Repository, *, tasks: list[dict[str, Any]], origin: Origin, operation_id: str | None = None
) -> dict[str, Any]:
    """Create 1 to 100 tasks, all or none. Answers with their ids, in the order given."""
    return _lines(repository.create_tasks(tasks=tasks, origin=origin, idempotency_key=operation_id))


@tool(schemas.ListTasks(), record({"tasks": array(LINE)}, {"next_cursor": STRING, "since": STRING}))
def list_tasks(
    repository: Repository, *, state: str, limit: int, text: str | None = None, cursor: Any = None, **times: datetime
) -> dict[str, Any]:
    """List tasks in short: open ones first, then the newest first. `about` begins the description, `completed` is a
    date. Texts that end in … are cut, the more the higher the limit; get_task has them whole. Times are RFC 3339.
    """
    page = repository.list_tasks_page(
        is_completed=STATES[state],
        text=text,
        created=(times.get("created_from"), times.get("created_before")),
        updated=(times.get("updated_from"), times.get("updated_before")),
        completed=(times.get("completed_from"), times.get("completed_before")),
        after=cursor,
        limit=limit,
    )
    answer: dict[str, Any] = {"tasks": [compact.line(task, limit) for task in orjson.loads(page.tasks or b"[]")]}
    if page.last:
        answer["next_cursor"] = schemas.Cursor.after(orjson.loads(page.last))
    if page.position and not cursor:
        answer["since"] = position_cursor(page.position)
    return answer


@tool(schemas.OneTask(), record({"task": TASK, "history": array(ENTRY)}))
def get_task(repository: Repository, *, task_id: UUID) -> dict[str, Any]:
    """Get a whole task and its latest changes, newest first."""
    found = orjson.loads(repository.get_task_with_history(task_id=task_id, entries=RECENT))
    return {"task": found["task"], "history": [compact.entry(entry, RECENT) for entry in found["history"]]}


@tool(schemas.UpdateTasks(), CHANGED, writes=True, destroys=True)
def update_tasks(
    repository: Repository, *, tasks: list[dict[str, Any]], origin: Origin, operation_id: str | None = None
) -> dict[str, Any]:
    """Replace the title, description or both of 1 to 100 tasks, all or none. `unchanged` are the ids of those that had
    them already."""
    task_ids = [task.pop("task_id") for task in tasks]
    changes = [{"id": task_id, **task} for task_id, task in zip(task_ids, tasks, strict=True)]
    return _changed(repository.update_tasks(changes=changes, origin=origin, idempotency_key=operation_id), task_ids)


@tool(schemas.UpdateTask(), record({"task": TASK}, {"replayed": TRUE}), writes=True, destroys=True, listed=False)
def update_task(
    repository: Repository, *, task_id: UUID, origin: Origin, operation_id: str | None = None, **changes: Any
) -> dict[str, Any]:
    """Replace a task's title, description or both."""
    written = repository.update_task(task_id=task_id, changes=changes, origin=origin, idempotency_key=operation_id)
    return _marked({"task": orjson.loads(written.task)}, written)


@tool(schemas.ManyTasks(), CHANGED, writes=True)
def complete_tasks(
    repository: Repository, *, task_ids: list[UUID], origin: Origin, operation_id: str | None = None
) -> dict[str, Any]:
    """Complete 1 to 100 tasks, all or none. `unchanged` are the ids of those that were completed already."""
    return _set_completed(repository, task_ids, True, origin, operation_id)


@tool(schemas.ManyTasks(), CHANGED, writes=True)
def reopen_tasks(
    repository: Repository, *, task_ids: list[UUID], origin: Origin, operation_id: str | None = None
) -> dict[str, Any]:
    """Make 1 to 100 completed tasks open again, all or none. `unchanged` are the ids of those that were open."""
    return _set_completed(repository, task_ids, False, origin, operation_id)


@tool(schemas.ManyTasks(), WRITTEN, writes=True, destroys=True)
def delete_tasks(
    repository: Repository, *, task_ids: list[UUID], origin: Origin, operation_id: str | None = None
) -> dict[str, Any]:
    """Delete 1 to 100 tasks for good, all or none; their history stays. Answers with what was deleted."""
    return _lines(repository.delete_tasks(task_ids=task_ids, origin=origin, idempotency_key=operation_id))


@tool(
    schemas.TaskHistory(),
    record({"entries": array(ENTRY)}, {"total": COUNT, "next_page": COUNT, "since": STRING, "has_more": TRUE}),
)
def task_history(
    repository: Repository, *, limit: int, offset: int = 0, since: Cursor | None = None, **filters: Any
) -> dict[str, Any]:
    """List what happened to tasks, deleted ones too, newest first."""
    if since:
        changes = repository.list_changes(after=since, limit=limit)
        entries = [compact.entry(orjson.loads(item), limit) for item in changes.items]
        return {"entries": entries, "since": str(changes.cursor), **({"has_more": True} if changes.has_more else {})}
    page = repository.history_page(**filters, limit=limit, offset=offset)
    answer = {"entries": [compact.entry(entry, limit) for entry in orjson.loads(page.items)], "total": page.total}
    if page.has_more:
        answer["next_page"] = offset // limit + 2
    return answer


@tool(schemas.UndoChanges(), UNDONE, writes=True, destroys=True)
def undo(
    repository: Repository,
    *,
    origin: Origin,
    preview: bool,
    skip_conflicts: bool,
    task_id: UUID | None = None,
    version: int | None = None,
    change_set: str | None = None,
    operation_id: str | None = None,
) -> dict[str, Any]:
    """Take back the change that made a version of a task, or all of a change set; without either, all that you have
    done. What others changed since conflicts. The answer's `change_set` undoes the undo.
    """
    change_set = change_set or (None if task_id else origin.change_set)
    if not (task_id or change_set):
        raise ValidationError("must give task_id with version, or a change_set: this connection has none of its own")
    if change_set:
        # What takes a change set back is not a part of it, or it could not be undone. A retry has the same name.
        name = sha256(f"{operation_id} {change_set}".encode()).hexdigest() if operation_id else uuid4().hex
        origin = replace(origin, change_set=f"undo-{name[:12]}")
    undone = repository.undo(
        chosen=Chosen(task_id=task_id, version=version, change_set=change_set),
        dry_run=preview,
        skip_conflicts=skip_conflicts,
        origin=origin,
        idempotency_key=operation_id,
    )
    changes = orjson.loads(undone.changes)
    answer: dict[str, Any] = {
        "changes": [compact.undone(change, len(changes)) for change in changes],
        "conflicts": orjson.loads(undone.conflicts),
    }
    if change_set and changes and not preview:
        answer["change_set"] = origin.change_set
    return _marked(answer, undone)


@tool(schemas.Nothing(), STATISTICS)
def weekly_stats(repository: Repository) -> dict[str, Any]:
    """Count the tasks that exist: created and completed this week (Monday to Sunday, UTC), and in total."""
    stats: dict[str, Any] = orjson.loads(repository.weekly_stats())
    return stats


def _set_completed(
    repository: Repository, task_ids: list[UUID], is_completed: bool, origin: Origin, operation_id: str | None
) -> dict[str, Any]:
    written = repository.set_tasks_completed(
        task_ids=task_ids, is_completed=is_completed, origin=origin, idempotency_key=operation_id
    )
    return _changed(written, task_ids)


def _changed(written: ManyWritten, task_ids: list[UUID]) -> dict[str, Any]:
    """The tasks that a write has changed, and the ids of the other ones that it names."""
    changed = set(written.changed)
    unchanged = [str(task_id) for place, task_id in enumerate(task_ids) if place not in changed]
    return {**_lines(written), "unchanged": unchanged}


def _lines(written: ManyWritten) -> dict[str, Any]:
    tasks = orjson.loads(written.tasks)
    lines = [compact.line(tasks[place], len(written.changed)) for place in written.changed]
    return _marked({"tasks": lines}, written)


def _marked(answer: dict[str, Any], written: Written | ManyWritten | Undone) -> dict[str, Any]:
    return {**answer, "replayed": True} if written.replayed else answer
