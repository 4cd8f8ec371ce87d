"""The tools: names, arguments, results and what they do. Agents read each function's docstring."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from marshmallow import Schema
from mcp_types import Tool, ToolAnnotations

from taskapi.mcp import arguments as schemas
from taskapi.mcp import compact
from taskapi.mcp.outputs import COUNT, ENTRY, LINE, STATISTICS, STRING, TASK, TRUE, array, json_schema, record
from taskapi.repository import Repository
from taskapi.repository.base import Written

Run = Callable[..., dict[str, Any]]

RECENT = 10
"""How many history entries `get_task` returns."""

WRITTEN = record({"tasks": array(LINE)}, {"replayed": TRUE})
CHANGED = record({"tasks": array(LINE), "unchanged": array(STRING)}, {"replayed": TRUE})

STATES = {"open": False, "completed": True, "all": None}


@dataclass(frozen=True)
class Entry:
    """One tool: its definition for clients, the schema that checks its arguments, and the function that runs."""

    definition: Tool
    arguments: Schema
    run: Run


TOOLS: dict[str, Entry] = {}


def tool(
    arguments: Schema, result: dict[str, Any], *, writes: bool = False, destroys: bool = False, repeatable: bool = True
) -> Callable[[Run], Run]:
    """Register a function as a tool.

    `arguments` checks what comes in; `result` is the JSON Schema of the answer. `writes`: it may change tasks;
    `destroys`: it may remove tasks or text; `repeatable`: the same call again changes nothing more.
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
        TOOLS[run.__name__] = Entry(definition, arguments, run)
        return run

    return register


@tool(schemas.CreateTasks(), WRITTEN, writes=True, repeatable=False)
def create_tasks(
    repository: Repository, *, tasks: list[dict[str, Any]], operation_id: str | None = None
) -> dict[str, Any]:
    """Create 1 to 100 tasks, all or none. Answers with their ids, in the order given."""
    return _lines(repository.create_tasks(tasks=tasks, idempotency_key=operation_id))


@tool(schemas.ListTasks(), record({"tasks": array(LINE)}, {"next_cursor": STRING}))
def list_tasks(
    repository: Repository, *, state: str, limit: int, text: str | None = None, cursor: Any = None
) -> dict[str, Any]:
    """List tasks in short: open ones first, then the newest first. `about` begins the description, `completed` is a
    date. Texts that end in … are cut, the more the higher the limit; get_task has them whole.
    """
    # Ask for one more than the limit, to know whether there is another page.
    page = repository.list_tasks_page(
        is_completed=STATES[state], text=text, after=cursor, limit=limit + 1, excerpt=compact.excerpt(limit)
    )
    tasks = orjson.loads(page)
    answer: dict[str, Any] = {"tasks": [compact.line(task, limit) for task in tasks[:limit]]}
    if len(tasks) > limit:
        answer["next_cursor"] = schemas.Cursor.after(tasks[limit - 1])
    return answer


@tool(schemas.OneTask(), record({"task": TASK, "history": array(ENTRY)}))
def get_task(repository: Repository, *, task_id: UUID) -> dict[str, Any]:
    """Get a whole task and its latest changes, newest first."""
    found = orjson.loads(repository.get_task_with_history(task_id=task_id, entries=RECENT))
    return {"task": found["task"], "history": [compact.entry(entry, RECENT) for entry in found["history"]]}


@tool(schemas.UpdateTask(), record({"task": TASK}, {"replayed": TRUE}), writes=True, destroys=True)
def update_task(
    repository: Repository, *, task_id: UUID, operation_id: str | None = None, **changes: Any
) -> dict[str, Any]:
    """Replace a task's title, description or both."""
    written = repository.update_task(task_id=task_id, changes=changes, idempotency_key=operation_id)
    return _marked({"task": orjson.loads(written.task)}, written)


@tool(schemas.ManyTasks(), CHANGED, writes=True)
def complete_tasks(repository: Repository, *, task_ids: list[UUID], operation_id: str | None = None) -> dict[str, Any]:
    """Complete 1 to 100 tasks, all or none. `unchanged` are the ids of those that were completed already."""
    return _set_completed(repository, task_ids, True, operation_id)


@tool(schemas.ManyTasks(), CHANGED, writes=True)
def reopen_tasks(repository: Repository, *, task_ids: list[UUID], operation_id: str | None = None) -> dict[str, Any]:
    """Make 1 to 100 completed tasks open again, all or none. `unchanged` are the ids of those that were open."""
    return _set_completed(repository, task_ids, False, operation_id)


@tool(schemas.ManyTasks(), WRITTEN, writes=True, destroys=True)
def delete_tasks(repository: Repository, *, task_ids: list[UUID], operation_id: str | None = None) -> dict[str, Any]:
    """Delete 1 to 100 tasks for good, all or none; their history stays. Answers with what was deleted."""
    return _lines(repository.delete_tasks(task_ids=task_ids, idempotency_key=operation_id))


@tool(schemas.TaskHistory(), record({"entries": array(ENTRY), "total": COUNT}, {"next_page": COUNT}))
def task_history(
    repository: Repository, *, task_id: UUID | None, action_type: str | None, limit: int, offset: int
) -> dict[str, Any]:
    """List what happened to tasks, deleted ones too, newest first. Times are UTC."""
    total, entries = repository.list_history(task_id=task_id, action_type=action_type, limit=limit, offset=offset)
    answer = {"entries": [compact.entry(entry, limit) for entry in orjson.loads(entries)], "total": total}
    if offset + limit < total:
        answer["next_page"] = offset // limit + 2
    return answer


@tool(schemas.Nothing(), STATISTICS)
def weekly_stats(repository: Repository) -> dict[str, Any]:
    """Count the tasks that exist: created and completed this week (Monday to Sunday, UTC), and in total."""
    stats: dict[str, Any] = orjson.loads(repository.weekly_stats())
    return stats


def _set_completed(
    repository: Repository, task_ids: list[UUID], is_completed: bool, operation_id: str | None
) -> dict[str, Any]:
    """Works for a replay, too: the operation's entries name the tasks that changed, and the call names all of them."""
    written = repository.set_tasks_completed(task_ids=task_ids, is_completed=is_completed, idempotency_key=operation_id)
    answer = _lines(written)
    changed = {task["id"] for task in answer["tasks"]}
    return {**answer, "unchanged": [name for task_id in task_ids if (name := str(task_id)) not in changed]}


def _lines(written: Written) -> dict[str, Any]:
    tasks = orjson.loads(written.task)
    return _marked({"tasks": [compact.line(task, len(tasks)) for task in tasks]}, written)


def _marked(answer: dict[str, Any], written: Written) -> dict[str, Any]:
    return {**answer, "replayed": True} if written.replayed else answer
