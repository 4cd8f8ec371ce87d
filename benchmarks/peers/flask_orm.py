"""A peer of taskapi: the same contract with flask-smorest, marshmallow, SQLAlchemy's ORM and psycopg2."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Flask
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import RAISE, fields
from sqlalchemy import create_engine, func, make_url, select
from sqlalchemy.orm import scoped_session, sessionmaker
from werkzeug.exceptions import NotFound

from benchmarks.peers import rules
from benchmarks.peers.flask_contract import (
    EnvelopeApi,
    HealthSchema,
    HistoryPageSchema,
    HistoryQuerySchema,
    TaskCreateSchema,
    TaskId,
    TaskSchema,
    TaskUpdateSchema,
    WeeklyStatsSchema,
    answer,
)
from benchmarks.peers.tables import HistoryEntry, Task, listed, owned

engine = create_engine(
    make_url(rules.DATABASE_URL).set(drivername="postgresql+psycopg2"),
    pool_size=rules.POOL_SIZE,
    max_overflow=0,
    connect_args={"options": "-c timezone=utc"},
)
session = scoped_session(sessionmaker(engine, expire_on_commit=False))

TaskAnswer = answer(fields.Nested(TaskSchema))

tasks = Blueprint("tasks", __name__, url_prefix="/api/v1/tasks")
service = Blueprint("service", __name__, url_prefix="/api/v1")


@tasks.route("")
class Tasks(MethodView):
    """All tasks."""

    @tasks.response(200, answer(fields.List(fields.Nested(TaskSchema))))
    def get(self) -> dict[str, Any]:
        """List every task."""
        return {
            "data": session.scalars(
                select(Task).where(listed(Task)).order_by(Task.is_completed, Task.created_at.desc(), Task.id)
            )
        }

    @tasks.arguments(TaskCreateSchema)
    @tasks.response(201, TaskAnswer)
    def post(self, new: dict[str, Any]) -> dict[str, Any]:
        """Create a task."""
        now = datetime.now(UTC)
        task = Task(**new, created_at=now, updated_at=now, completed_at=None)
        session.add(task)
        session.flush()
        session.add(_entry(task, "CREATED", rules.title_told(task.title)))
        session.commit()
        return {"data": task, "popup": "TASK_CREATED"}


@tasks.route("/<task_id:task_id>")
class OneTask(MethodView):
    """One task."""

    @tasks.response(200, TaskAnswer)
    def get(self, task_id: UUID) -> dict[str, Any]:
        """Get a task."""
        task = session.get(Task, owned(task_id))
        if task is None:
            raise NotFound("There is no such task.")
        return {"data": task}

    @tasks.arguments(TaskUpdateSchema)
    @tasks.response(200, TaskAnswer)
    def put(self, changes: dict[str, Any], task_id: UUID) -> dict[str, Any]:
        """Change a task's title, its description, or both."""
        task = _locked(task_id)
        if told := rules.changes_told(task.title, task.description, changes):
            for name, value in changes.items():
                setattr(task, name, value)
            task.updated_at = rules.moment_after(task.updated_at)
            task.version += 1
            session.add(_entry(task, "UPDATED", told))
            session.commit()
        return {"data": task, "popup": "TASK_UPDATED"}

    @tasks.response(200, answer(fields.Raw()))
    def delete(self, task_id: UUID) -> dict[str, Any]:
        """Delete a task."""
        task = _locked(task_id)
        session.delete(task)
        session.flush()
        entry = _entry(task, "DELETED", rules.title_told(task.title))
        entry.timestamp = rules.moment_after(task.updated_at)
        entry.version = task.version + 1
        session.add(entry)
        session.commit()
        return {"data": None, "popup": "TASK_DELETED"}


@tasks.patch("/<task_id:task_id>/complete")
@tasks.response(200, TaskAnswer)
def complete_task(task_id: UUID) -> dict[str, Any]:
    """Complete a task."""
    return {"data": _set_completed(task_id, is_completed=True), "popup": "TASK_COMPLETED"}


@tasks.patch("/<task_id:task_id>/incomplete")
@tasks.response(200, TaskAnswer)
def reopen_task(task_id: UUID) -> dict[str, Any]:
    """Reopen a task."""
    return {"data": _set_completed(task_id, is_completed=False), "popup": "TASK_INCOMPLETE"}


@service.get("/history")
@service.arguments(HistoryQuerySchema, location="query", unknown=RAISE)
@service.response(200, answer(fields.Nested(HistoryPageSchema)))
def list_history(query: dict[str, Any]) -> dict[str, Any]:
    """List the history, newest entry first."""
    limit = query["limit"]
    start = query["offset"] if query["page"] is None else (query["page"] - 1) * limit
    selection = select(HistoryEntry).filter_by(**{k: query[k] for k in ("task_id", "action_type") if k in query})
    selection = selection.filter_by(owner=rules.OWNER) if "task_id" in query else selection.where(listed(HistoryEntry))
    total_count = session.scalar(selection.with_only_columns(func.count(), maintain_column_froms=True)) or 0
    items = session.scalars(
        selection.order_by(HistoryEntry.timestamp.desc(), HistoryEntry.task_id.desc())
        .limit(limit)
        .offset(min(start, rules.BIGGEST))
    )
    return {"data": {"items": items, "pagination": rules.pagination(total_count, limit, start)}}


@service.get("/stats/weekly")
@service.response(200, answer(fields.Nested(WeeklyStatsSchema)))
def weekly_stats() -> dict[str, Any]:
    """Get the figures of the current week."""
    start, end = rules.week()
    counts = session.execute(
        select(
            func.count().filter(Task.created_at >= start, Task.created_at < end).label("tasks_created_this_week"),
            func.count().filter(Task.completed_at >= start, Task.completed_at < end).label("tasks_completed_this_week"),
            func.count().filter(Task.is_completed).label("total_completed"),
            func.count().filter(~Task.is_completed).label("total_incomplete"),
            func.count().label("total_tasks"),
        ).where(Task.owner == rules.OWNER)
    )
    return {"data": {**counts.mappings().one(), "week_start": start, "week_end": end - timedelta(seconds=1)}}


@service.get("/health")
@service.response(200, answer(fields.Nested(HealthSchema)))
def health() -> dict[str, Any]:
    """Tell that the service is up."""
    return {"data": rules.HEALTHY}


def _locked(task_id: UUID) -> Task:
    task = session.get(Task, owned(task_id), with_for_update=True)
    if task is None:
        raise NotFound("There is no such task.")
    return task


def _set_completed(task_id: UUID, *, is_completed: bool) -> Task:
    task = _locked(task_id)
    if task.is_completed != is_completed:
        task.is_completed = is_completed
        task.updated_at = rules.moment_after(task.updated_at)
        task.completed_at = task.updated_at if is_completed else None
        task.version += 1
        session.add(_entry(task, *rules.completion_told(task.title, is_completed)))
        session.commit()
    return task


def _entry(task: Task, action: rules.ActionType, told: str) -> HistoryEntry:
    return HistoryEntry(
        task_id=task.id,
        action_type=action,
        description=told,
        timestamp=task.updated_at,
        version=task.version,
        snapshot=TaskSchema().dump(task),
    )


def create_app() -> Flask:
    """Make the WSGI application."""
    app = Flask(__name__)
    app.config.update(API_TITLE="peer", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    app.url_map.converters["task_id"] = TaskId
    api = EnvelopeApi(app)
    api.register_blueprint(tasks)
    api.register_blueprint(service)
    app.teardown_appcontext(lambda _: session.remove())
    return app
