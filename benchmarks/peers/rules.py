"""What the peers share and no library decides: sizes, times, and what the history says."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

ActionType = Literal["CREATED", "UPDATED", "DELETED", "COMPLETED", "INCOMPLETED"]

DATABASE_URL = os.environ["DATABASE_URL"]
POOL_SIZE = max(1, int(os.environ.get("DB_CONNECTIONS", "20")) // int(os.environ.get("WEB_CONCURRENCY", "1")))
"""Connections of one worker: its share of the service's."""

OWNER = "default"
LIST_COLLATION = "POSIX"
OWNED = f"owner = '{OWNER}'"
LISTED = f"owner COLLATE \"{LIST_COLLATION}\" = '{OWNER}'"
"""In taskapi's schema, each key and each index begins with the owner: the indexes of lists in another collation."""

HEALTHY = {"status": "healthy", "service": "taskapi", "version": "1.0.0"}
BIGGEST = 2**63 - 1
"""Postgres' largest bigint: no offset is further."""


def moment_after(earlier: datetime) -> datetime:
    """Now; should the clock have gone back, a microsecond after the last change."""
    return max(datetime.now(UTC), earlier + timedelta(microseconds=1))


def week() -> tuple[datetime, datetime]:
    """Where the current week starts, and where the next one does."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = today - timedelta(days=today.weekday())
    return monday, monday + timedelta(days=7)


def title_told(title: str) -> str:
    """What the history says of a task that was created or deleted."""
    return f"title: '{title}'"


def changes_told(title: str, description: str | None, changes: dict[str, Any]) -> str:
    """What the history says of changes to a task with this title and description; nothing where they change nothing."""
    told = []
    if changes.get("title", title) != title:
        told.append(f"title: '{title}' -> '{changes['title']}'")
    if changes.get("description", description) != description:
        told.append(f"description: {_excerpt(description)} -> {_excerpt(changes['description'])}")
    return "; ".join(told)


def completion_told(title: str, is_completed: bool) -> tuple[ActionType, str]:
    """The action of a task that was completed or reopened, and what the history says of it."""
    if is_completed:
        return "COMPLETED", f"'{title}': is_completed: false -> true"
    return "INCOMPLETED", f"'{title}': is_completed: true -> false"


def pagination(total_count: int, limit: int, offset: int) -> dict[str, int | bool]:
    """Where a page stands in its selection."""
    return {
        "total_count": total_count,
        "total_pages": -(-total_count // limit),
        "current_page": offset // limit + 1,
        "page_size": limit,
        "has_next": offset + limit < total_count,
        "has_prev": offset > 0 and total_count > 0,
    }


def _excerpt(text: str | None) -> str:
    if text is None:
        return "none"
    return f"'{text[:100]}…'" if len(text) > 100 else f"'{text}'"
