"""The two tables as SQLAlchemy's ORM maps them, for the peers that use it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Text, collate, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.peers import rules

MADE_BY_DATABASE = text("gen_random_uuid()")


class Base(DeclarativeBase):
    """How Python's types are stored."""

    type_annotation_map = {datetime: DateTime(timezone=True), str: Text, dict[str, Any]: JSONB}


class Task(Base):
    """A task as it is now."""

    __tablename__ = "tasks"

    owner: Mapped[str] = mapped_column(primary_key=True, default=rules.OWNER)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=MADE_BY_DATABASE)
    title: Mapped[str]
    description: Mapped[str | None]
    is_completed: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)


class HistoryEntry(Base):
    """One change of one task. What no answer shows is not loaded with it."""

    __tablename__ = "task_history"

    history_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=MADE_BY_DATABASE)
    task_id: Mapped[UUID]
    action_type: Mapped[str]
    description: Mapped[str]
    timestamp: Mapped[datetime]
    owner: Mapped[str] = mapped_column(default=rules.OWNER, deferred=True)
    version: Mapped[int] = mapped_column(deferred=True)
    snapshot: Mapped[dict[str, Any]] = mapped_column(deferred=True)


def listed(table: type[Task] | type[HistoryEntry]) -> ColumnElement[bool]:
    """The condition for all rows of the owner that the indexes of lists fit."""
    return collate(table.owner, rules.LIST_COLLATION) == rules.OWNER


def owned(task_id: UUID) -> tuple[str, UUID]:
    """A task's key."""
    return rules.OWNER, task_id
