"""The examples in the documentation: one of each answer, exactly as the service sends it."""

from typing import Any

from taskapi.access import CHALLENGE, UNAUTHORIZED
from taskapi.errors import PoolBusy, TaskNotFound
from taskapi.schemas.fields import PAGE_SIZE, TITLE_LENGTH, TOO_LONG, UNKNOWN
from taskapi.settings import Settings
from taskapi.web import body, conditions, errors

TASK_ID = "3b241101-e2bb-4255-8caf-4136c566a962"

TASK: dict[str, Any] = {
    "id": TASK_ID,
    "title": "Buy milk",
    "description": "Two litres, and bread",
    "is_completed": False,
    "created_at": "2025-12-11T10:30:00.123456Z",
    "updated_at": "2025-12-11T10:30:00.123456Z",
    "completed_at": None,
}

UPDATED = {**TASK, "title": "Buy oat milk", "updated_at": "2025-12-11T10:42:10.654321Z"}

COMPLETED = {
    **TASK,
    "is_completed": True,
    "updated_at": "2025-12-12T08:00:00.000001Z",
    "completed_at": "2025-12-12T08:00:00.000001Z",
}

ENTRY = {
    "history_id": "6f1c1b0e-3c1d-4a55-9a51-0d2f3c7f6a10",
    "task_id": TASK_ID,
    "action_type": "UPDATED",
    "description": "title: 'Buy milk' -> 'Buy oat milk'",
    "timestamp": UPDATED["updated_at"],
}

HISTORY = {
    "items": [ENTRY],
    "pagination": {
        "total_count": 1,
        "total_pages": 1,
        "current_page": 1,
        "page_size": PAGE_SIZE,
        "has_next": False,
        "has_prev": False,
    },
}

STATS = {
    "tasks_created_this_week": 5,
    "tasks_completed_this_week": 3,
    "total_completed": 20,
    "total_incomplete": 4,
    "total_tasks": 24,
    "week_start": "2025-12-08T00:00:00Z",
    "week_end": "2025-12-14T23:59:59Z",
}


def success(data: Any, popup: str | None = None) -> dict[str, Any]:
    """The envelope of a success."""
    return {"success": True, "data": data, "popup": popup, "error": None}


def failure(error: str) -> dict[str, Any]:
    """The envelope of a failure."""
    return {"success": False, "data": None, "popup": None, "error": error}


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


LOCATION = {"Location": _header("The path of the new task.", f"/api/v1/tasks/{TASK_ID}")}
REPLAYED = {"Idempotency-Replayed": _header("`true` where an earlier request with this key did the writing.", "true")}

ERRORS: dict[int, dict[str, Any]] = {
    400: {
        "description": "The body is not JSON: malformed, NaN, trailing text, nested too deeply, not UTF-8, or empty.",
        "example": failure("The body is not JSON: Expecting value: line 1 column 1 (char 0)."),
    },
    401: {
        "description": "The service has tokens configured, and the request carries none of them.",
        "example": failure(UNAUTHORIZED),
        "headers": {name: _header("How to authenticate.", value) for name, value in CHALLENGE.items()},
    },
    404: {
        "description": TaskNotFound.sentence,
        "example": failure(TaskNotFound.sentence),
    },
    412: {
        "description": "The request's `If-Match` or `If-None-Match` cannot be met: tasks have no version tags.",
        "example": failure(conditions.SENTENCE.format("If-Match")),
    },
    413: {
        "description": f"The body is larger than the limit: {Settings.max_body_bytes // 2**20} MiB unless configured.",
        "example": failure(errors.TOO_LARGE.format(Settings.max_body_bytes)),
    },
    415: {
        "description": "The body's Content-Type is not `application/json` (or `+json`).",
        "example": failure(body.NO_JSON),
    },
    422: {
        "description": "A rule is broken: in the body, the query string, the Idempotency-Key, or the id in the path.",
        "example": failure(f"title: {TOO_LONG.format(longest=TITLE_LENGTH)}; colour: {UNKNOWN}"),
    },
    500: {
        "description": "A defect of the service.",
        "example": failure(errors.DEFECT),
    },
    503: {
        "description": "The database cannot serve this now. The text says whether a write may have happened.",
        "example": failure(PoolBusy.sentence),
        "headers": {"Retry-After": _header("Seconds to wait before another try.", str(PoolBusy.retry_after))},
    },
}
