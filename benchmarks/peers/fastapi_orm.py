"""A peer of taskapi: the same contract with FastAPI, SQLAlchemy's asynchronous ORM and asyncpg."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Query
from sqlalchemy import func, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

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
from benchmarks.peers.tables import HistoryEntry, Task, listed, owned

engine = create_async_engine(
    make_url(rules.DATABASE_URL).set(drivername="postgresql+asyncpg"), pool_size=rules.POOL_SIZE, max_overflow=0
)
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def session_of_request() -> AsyncIterator[AsyncSession]:
    """One session for each request."""
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(session_of_request)]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections at the end."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan, openapi_url=None)
handle_errors(app)


@app.post("/api/v1/tasks", status_code=201, response_model=Answer[TaskOut])
async def create_task(new: TaskCreate, session: Session) -> dict[str, Any]:
    """Create a task."""
    now = datetime.now(UTC)
    task = Task(**new.model_dump(), created_at=now, updated_at=now, completed_at=None)
    session.add(task)
    await session.flush()
    session.add(_entry(task, "CREATED", rules.title_told(task.title)))
    await session.commit()
    return {"data": task, "popup": "TASK_CREATED"}


@app.get("/api/v1/tasks", response_model=Answer[list[TaskOut]])
async def list_tasks(session: Session) -> dict[str, Any]:
    """List every task."""
    tasks = await session.scalars(
        select(Task).where(listed(Task)).order_by(Task.is_completed, Task.created_at.desc(), Task.id)
    )
    return {"data": tasks.all()}


@app.get("/api/v1/tasks/{task_id}", response_model=Answer[TaskOut])
async def get_task(task_id: UUID, session: Session) -> dict[str, Any]:
    """Get a task."""
    task = await session.get(Task, owned(task_id))
    if task is None:
        raise TaskNotFound
    return {"data": task}


@app.put("/api/v1/tasks/{task_id}", response_model=Answer[TaskOut])
async def update_task(task_id: UUID, update: TaskUpdate, session: Session) -> dict[str, Any]:
    """Change a task's title, its description, or both."""
    task = await _locked(session, task_id)
    changes = update.model_dump(exclude_unset=True)
    if told := rules.changes_told(task.title, task.description, changes):
        for name, value in changes.items():
            setattr(task, name, value)
        task.updated_at = rules.moment_after(task.updated_at)
        task.version += 1
        session.add(_entry(task, "UPDATED", told))
        await session.commit()
    return {"data": task, "popup": "TASK_UPDATED"}


@app.patch("/api/v1/tasks/{task_id}/complete", response_model=Answer[TaskOut])
async def complete_task(task_id: UUID, session: Session) -> dict[str, Any]:
    """Complete a task."""
    return {"data": await _set_completed(session, task_id, is_completed=True), "popup": "TASK_COMPLETED"}


@app.patch("/api/v1/tasks/{task_id}/incomplete", response_model=Answer[TaskOut])
async def reopen_task(task_id: UUID, session: Session) -> dict[str, Any]:
    """Reopen a task."""
    return {"data": await _set_completed(session, task_id, is_completed=False), "popup": "TASK_INCOMPLETE"}


@app.delete("/api/v1/tasks/{task_id}", response_model=Answer[None])
async def delete_task(task_id: UUID, session: Session) -> dict[str, Any]:
    """Delete a task."""
    task = await _locked(session, task_id)
    await session.delete(task)
    await session.flush()
    entry = _entry(task, "DELETED", rules.title_told(task.title))
    entry.timestamp = rules.moment_after(task.updated_at)
    entry.version = task.version + 1
    session.add(entry)
    await session.commit()
    return {"data": None, "popup": "TASK_DELETED"}


@app.get("/api/v1/history", response_model=Answer[HistoryPageOut])
async def list_history(query: Annotated[HistoryQuery, Query()], session: Session) -> dict[str, Any]:
    """List the history, newest entry first."""
    if query.task_id is None:
        selection = select(HistoryEntry).where(listed(HistoryEntry))
    else:
        selection = select(HistoryEntry).filter_by(owner=rules.OWNER, task_id=query.task_id)
    if query.action_type is not None:
        selection = selection.where(HistoryEntry.action_type == query.action_type)
    total_count = await session.scalar(selection.with_only_columns(func.count(), maintain_column_froms=True))
    entries = await session.scalars(
        selection.order_by(HistoryEntry.timestamp.desc(), HistoryEntry.task_id.desc())
        .limit(query.limit)
        .offset(min(query.start, rules.BIGGEST))
    )
    return {
        "data": {"items": entries.all(), "pagination": rules.pagination(total_count or 0, query.limit, query.start)}
    }


@app.get("/api/v1/stats/weekly", response_model=Answer[WeeklyStatsOut])
async def weekly_stats(session: Session) -> dict[str, Any]:
    """Get the figures of the current week."""
    start, end = rules.week()
    counts = await session.execute(
        select(
            func.count().filter(Task.created_at >= start, Task.created_at < end).label("tasks_created_this_week"),
            func.count().filter(Task.completed_at >= start, Task.completed_at < end).label("tasks_completed_this_week"),
            func.count().filter(Task.is_completed).label("total_completed"),
            func.count().filter(~Task.is_completed).label("total_incomplete"),
            func.count().label("total_tasks"),
        ).where(Task.owner == rules.OWNER)
    )
    return {"data": {**counts.mappings().one(), "week_start": start, "week_end": end - timedelta(seconds=1)}}


@app.get("/api/v1/health", response_model=Answer[HealthOut])
async def health() -> dict[str, Any]:
    """Tell that the service is up."""
    return {"data": rules.HEALTHY}


async def _locked(session: AsyncSession, task_id: UUID) -> Task:
    task = await session.get(Task, owned(task_id), with_for_update=True)
    if task is None:
        raise TaskNotFound
    return task


async def _set_completed(session: AsyncSession, task_id: UUID, *, is_completed: bool) -> Task:
    task = await _locked(session, task_id)
    if task.is_completed != is_completed:
        task.is_completed = is_completed
        task.updated_at = rules.moment_after(task.updated_at)
        task.completed_at = task.updated_at if is_completed else None
        task.version += 1
        session.add(_entry(task, *rules.completion_told(task.title, is_completed)))
        await session.commit()
    return task


def _entry(task: Task, action: rules.ActionType, told: str) -> HistoryEntry:
    return HistoryEntry(
        task_id=task.id,
        action_type=action,
        description=told,
        timestamp=task.updated_at,
        version=task.version,
        snapshot=TaskOut.model_validate(task).model_dump(mode="json"),
    )
