"""A peer of taskapi: the same contract with FastAPI, asyncpg and SQL written by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import Depends, FastAPI, Query, Request

from benchmarks.peers import rules
from benchmarks.peers.fastapi_contract import (
    Answer,
    HealthOut,
    HistoryPageOut,
    HistoryQuery,
    TaskCreate,
    TaskNotFound,
    TaskOut,
    TaskUpdate,
    WeeklyStatsOut,
    handle_errors,
)

TASK = "id, title, description, is_completed, created_at, updated_at, completed_at"

INSERT_TASK = f"INSERT INTO tasks (title, description, created_at, updated_at) VALUES ($1, $2, $3, $3) RETURNING {TASK}"
INSERT_ENTRY = """
    INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
LIST_TASKS = f"SELECT {TASK} FROM tasks WHERE {rules.LISTED} ORDER BY is_completed, created_at DESC, id"
GET_TASK = f"SELECT {TASK} FROM tasks WHERE {rules.OWNED} AND id = $1"
LOCK_TASK = f"SELECT {TASK}, version FROM tasks WHERE {rules.OWNED} AND id = $1 FOR UPDATE"
UPDATE_TASK = f"""
    UPDATE tasks SET title = $2, description = $3, updated_at = $4, version = version + 1
    WHERE {rules.OWNED} AND id = $1
    RETURNING {TASK}
"""
SET_COMPLETED = f"""
    UPDATE tasks SET is_completed = $2, completed_at = $3, updated_at = $4, version = version + 1
    WHERE {rules.OWNED} AND id = $1
    RETURNING {TASK}
"""
DELETE_TASK = f"DELETE FROM tasks WHERE {rules.OWNED} AND id = $1"
WEEKLY_STATS = f"""
    SELECT
        count(*) FILTER (WHERE created_at >= $1 AND created_at < $2) AS tasks_created_this_week,
        count(*) FILTER (WHERE completed_at >= $1 AND completed_at < $2) AS tasks_completed_this_week,
        count(*) FILTER (WHERE is_completed) AS total_completed,
        count(*) FILTER (WHERE NOT is_completed) AS total_incomplete,
        count(*) AS total_tasks
    FROM tasks
    WHERE {rules.OWNED}
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the connections at the start, and close them at the end."""
    async with asyncpg.create_pool(rules.DATABASE_URL, min_size=rules.POOL_SIZE, max_size=rules.POOL_SIZE) as pool:
        app.state.pool = pool
        yield


async def pool_of_app(request: Request) -> asyncpg.Pool:
    """The connections of this worker."""
    return request.app.state.pool


Pool = Annotated[asyncpg.Pool, Depends(pool_of_app)]
app = FastAPI(lifespan=lifespan, openapi_url=None)
handle_errors(app)


@app.post("/api/v1/tasks", status_code=201, response_model=Answer[TaskOut])
async def create_task(new: TaskCreate, pool: Pool) -> dict[str, Any]:
    """Create a task."""
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(INSERT_TASK, new.title, new.description, datetime.now(UTC))
        task = TaskOut.model_validate(dict(row))
        await _log(connection, task, "CREATED", rules.title_told(task.title), version=1)
    return {"data": task, "popup": "TASK_CREATED"}


@app.get("/api/v1/tasks", response_model=Answer[list[TaskOut]])
async def list_tasks(pool: Pool) -> dict[str, Any]:
    """List every task."""
    return {"data": [dict(row) for row in await pool.fetch(LIST_TASKS)]}


@app.get("/api/v1/tasks/{task_id}", response_model=Answer[TaskOut])
async def get_task(task_id: UUID, pool: Pool) -> dict[str, Any]:
    """Get a task."""
    row = await pool.fetchrow(GET_TASK, task_id)
    if row is None:
        raise TaskNotFound
    return {"data": dict(row)}


@app.put("/api/v1/tasks/{task_id}", response_model=Answer[TaskOut])
async def update_task(task_id: UUID, update: TaskUpdate, pool: Pool) -> dict[str, Any]:
    """Change a task's title, its description, or both."""
    async with pool.acquire() as connection, connection.transaction():
        task, version = await _locked(connection, task_id)
        changes = update.model_dump(exclude_unset=True)
        if told := rules.changes_told(task.title, task.description, changes):
            title = changes.get("title", task.title)
            description = changes.get("description", task.description)
            now = rules.moment_after(task.updated_at)
            row = await connection.fetchrow(UPDATE_TASK, task_id, title, description, now)
            task = TaskOut.model_validate(dict(row))
            await _log(connection, task, "UPDATED", told, version=version + 1)
    return {"data": task, "popup": "TASK_UPDATED"}


@app.patch("/api/v1/tasks/{task_id}/complete", response_model=Answer[TaskOut])
async def complete_task(task_id: UUID, pool: Pool) -> dict[str, Any]:
    """Complete a task."""
    return {"data": await _set_completed(pool, task_id, is_completed=True), "popup": "TASK_COMPLETED"}


@app.patch("/api/v1/tasks/{task_id}/incomplete", response_model=Answer[TaskOut])
async def reopen_task(task_id: UUID, pool: Pool) -> dict[str, Any]:
    """Reopen a task."""
    return {"data": await _set_completed(pool, task_id, is_completed=False), "popup": "TASK_INCOMPLETE"}


@app.delete("/api/v1/tasks/{task_id}", response_model=Answer[None])
async def delete_task(task_id: UUID, pool: Pool) -> dict[str, Any]:
    """Delete a task."""
    async with pool.acquire() as connection, connection.transaction():
        task, version = await _locked(connection, task_id)
        await connection.execute(DELETE_TASK, task_id)
        now = rules.moment_after(task.updated_at)
        await _log(connection, task, "DELETED", rules.title_told(task.title), version=version + 1, timestamp=now)
    return {"data": None, "popup": "TASK_DELETED"}


@app.get("/api/v1/history", response_model=Answer[HistoryPageOut])
async def list_history(query: Annotated[HistoryQuery, Query()], pool: Pool) -> dict[str, Any]:
    """List the history, newest entry first."""
    values: list[Any] = []
    conditions = [rules.LISTED if query.task_id is None else rules.OWNED]
    for column, value in (("task_id", query.task_id), ("action_type", query.action_type)):
        if value is not None:
            values.append(value)
            conditions.append(f"{column} = ${len(values)}")
    where = f"WHERE {' AND '.join(conditions)}"
    async with pool.acquire() as connection:
        total_count = await connection.fetchval(f"SELECT count(*) FROM task_history {where}", *values)
        rows = await connection.fetch(
            f"SELECT history_id, task_id, action_type, description, timestamp FROM task_history {where}"
            f" ORDER BY timestamp DESC, task_id DESC LIMIT ${len(values) + 1} OFFSET ${len(values) + 2}",
            *values,
            query.limit,
            min(query.start, rules.BIGGEST),
        )
    pagination = rules.pagination(total_count, query.limit, query.start)
    return {"data": {"items": [dict(row) for row in rows], "pagination": pagination}}


@app.get("/api/v1/stats/weekly", response_model=Answer[WeeklyStatsOut])
async def weekly_stats(pool: Pool) -> dict[str, Any]:
    """Get the figures of the current week."""
    start, end = rules.week()
    row = await pool.fetchrow(WEEKLY_STATS, start, end)
    return {"data": {**row, "week_start": start, "week_end": end - timedelta(seconds=1)}}


@app.get("/api/v1/health", response_model=Answer[HealthOut])
async def health() -> dict[str, Any]:
    """Tell that the service is up."""
    return {"data": rules.HEALTHY}


async def _locked(connection: asyncpg.Connection, task_id: UUID) -> tuple[TaskOut, int]:
    """The task, locked until the transaction ends, and its version."""
    row = await connection.fetchrow(LOCK_TASK, task_id)
    if row is None:
        raise TaskNotFound
    return TaskOut.model_validate(dict(row)), row["version"]


async def _set_completed(pool: asyncpg.Pool, task_id: UUID, *, is_completed: bool) -> TaskOut:
    async with pool.acquire() as connection, connection.transaction():
        task, version = await _locked(connection, task_id)
        if task.is_completed != is_completed:
            now = rules.moment_after(task.updated_at)
            row = await connection.fetchrow(SET_COMPLETED, task_id, is_completed, now if is_completed else None, now)
            task = TaskOut.model_validate(dict(row))
            await _log(connection, task, *rules.completion_told(task.title, is_completed), version=version + 1)
    return task


async def _log(
    connection: asyncpg.Connection,
    task: TaskOut,
    action: rules.ActionType,
    told: str,
    *,
    version: int,
    timestamp: datetime | None = None,
) -> None:
    """Write the history entry of a change: at the time of the change, unless the task is gone."""
    moment = timestamp or task.updated_at
    await connection.execute(INSERT_ENTRY, task.id, action, told, moment, version, task.model_dump_json())
