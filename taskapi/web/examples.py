"""The examples in the documentation: one of each answer, exactly as the service sends it."""

from typing import Any

import orjson

from taskapi.access import CHALLENGE
from taskapi.cursors import position_cursor
from taskapi.errors import CursorGone, NoAccess, PoolBusy, TaskNotFound
from taskapi.schemas.fields import PAGE_SIZE, TITLE_LENGTH, TOO_LONG, UNKNOWN
from taskapi.settings import Settings
from taskapi.web import body, errors

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

OTHER_ID = "9c5f0f3e-52b7-4d0c-8a53-3a1f5c1d7e20"

BULK_WRITES: dict[str, Any] = {
    "create": {
        "summary": "Create tasks",
        "value": {"create": [{"title": "Buy milk", "description": "Two litres, and bread"}, {"title": "Call Ann"}]},
    },
    "update": {
        "summary": "Update tasks; the first one only if it is at version 1",
        "value": {
            "update": [
                {"id": TASK_ID, "version": 1, "title": "Buy oat milk"},
                {"id": OTHER_ID, "title": "Call Ann today", "description": None},
            ]
        },
    },
    "complete": {
        "summary": "Complete tasks; the second one only if it is at version 3",
        "value": {"complete": [TASK_ID, {"id": OTHER_ID, "version": 3}]},
    },
    "incomplete": {"summary": "Reopen tasks", "value": {"incomplete": [TASK_ID, OTHER_ID]}},
    "delete": {
        "summary": "Delete tasks; the first one only if it is at version 2",
        "value": {"delete": [{"id": TASK_ID, "version": 2}, OTHER_ID]},
    },
}

ENTRY = {
    "history_id": "6f1c1b0e-3c1d-4a55-9a51-0d2f3c7f6a10",
    "task_id": TASK_ID,
    "action_type": "UPDATED",
    "description": "title: 'Buy milk' -> 'Buy oat milk'",
    "timestamp": UPDATED["updated_at"],
    "task_title": UPDATED["title"],
    "version": 2,
    "actor": "ann",
    "request_id": "6d9f3c0b8a5e4f7c9b1d2e3f4a5b6c7d",
    "change_set": None,
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

UNDONE = {**UPDATED, "title": "Buy milk", "updated_at": "2025-12-11T11:05:00.000001Z"}

RESTORED = {**UPDATED, "updated_at": UNDONE["updated_at"]}

UNDO = {
    "changes": [
        {
            "task_id": TASK_ID,
            "version": 3,
            "description": "undo: title: 'Buy oat milk' -> 'Buy milk'",
            "task": UNDONE,
        }
    ],
    "conflicts": [
        {
            "task_id": "9d1b7a52-0c7e-4f0a-8a34-5d7c2a6e1f08",
            "field": "description",
            "version": 5,
            "actor": "ann",
            "timestamp": "2025-12-11T10:58:31.250000Z",
        }
    ],
}

CURSOR = position_cursor(f"8731:8731:/{ENTRY['history_id']}")

CHANGE = {
    "history_id": ENTRY["history_id"],
    "task_id": TASK_ID,
    "version": ENTRY["version"],
    "action_type": ENTRY["action_type"],
    "description": ENTRY["description"],
    "timestamp": ENTRY["timestamp"],
    "actor": ENTRY["actor"],
    "request_id": ENTRY["request_id"],
    "change_set": ENTRY["change_set"],
    "task": UPDATED,
}

CHANGES = {"items": [CHANGE], "cursor": CURSOR, "has_more": False}

EVENTS = f"retry: 2000\n\nid: {CURSOR}\ndata: {orjson.dumps(CHANGE).decode()}\n\n: nothing new\n\n"

CREATED_VERSION = {
    "version": 1,
    "history_id": "0b8a4c1e-52f7-4f0e-8f65-6f1f0d2c9b3a",
    "action_type": "CREATED",
    "timestamp": TASK["created_at"],
    "actor": "ann",
    "request_id": "2c1f7a9e4b3d4c5e8f6a7b8c9d0e1f2a",
    "change_set": None,
    "changes": {
        "title": [None, TASK["title"]],
        "description": [None, TASK["description"]],
        "is_completed": [None, False],
    },
    "task": TASK,
}

VERSIONS = {
    "items": [
        CREATED_VERSION,
        {
            **{name: value for name, value in ENTRY.items() if name in CREATED_VERSION},
            "changes": {"title": [TASK["title"], UPDATED["title"]]},
            "task": UPDATED,
        },
    ],
    "has_more": False,
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


DAILY_STATS = {
    "days": [
        {"date": "2025-12-08", "created": 2, "completed": 0},
        {"date": "2025-12-09", "created": 0, "completed": 1},
    ]
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
CONTENT_LOCATION = {
    "Content-Location": _header("The path of the task that the answer shows.", f"/api/v1/tasks/{TASK_ID}")
}
VERSION = {"ETag": _header("The version of the task, for `If-Match` and `If-None-Match`.", '"2"')}
REPLAYED = {"Idempotency-Replayed": _header("`true` where an earlier request with this key did the writing.", "true")}

LIST_VERSION = {
    "ETag": _header(
        "What the list shows, for `If-None-Match`.", '"LHhZqYVqX9mz.734.0_6f1c1b0e3c1d4a559a510d2f3c7f6a10"'
    )
}
LIST_LINKS = {
    "Link": _header(
        "`next`: the next page, if there is one. `monitor`: what changes after this list.",
        '</api/v1/tasks?limit=100&cursor=WyJ5>; rel="next", </api/v1/changes?after=NzM0>; rel="monitor"',
    )
}
TOTAL = {"X-Total-Count": _header("With `count=true`: how many tasks match.", "24")}
NEXT_ENTRIES = {"Link": _header("The next page, if there is one.", '</api/v1/history?cursor=WyJ5>; rel="next"')}

NOT_MODIFIED = {
    "description": "The client has this version already: `If-None-Match` names it. There is no body.",
    "headers": VERSION,
}

ERRORS: dict[int, dict[str, Any]] = {
    400: {
        "description": "The body is not JSON: malformed, NaN, trailing text, nested too deeply, not UTF-8, or empty.",
        "example": failure("The body is not JSON: Expecting value: line 1 column 1 (char 0)."),
    },
    401: {
        "description": "The service asks for a token, and the request has none, a wrong one, or one that has expired.",
        "example": failure(NoAccess.sentence),
        "headers": {name: _header("How to authenticate.", value) for name, value in CHALLENGE.items()},
    },
    404: {
        "description": TaskNotFound.sentence,
        "example": failure(TaskNotFound.sentence),
    },
    409: {
        "description": "Others have changed the same since. The text says which field, who and when.",
        "example": failure(
            f"This cannot be undone: title of task {TASK_ID} was changed in version 3 (ann,"
            " 2025-12-11T10:58:31.250000Z). Nothing was written."
        ),
    },
    410: {
        "description": "The cursor is not of this database as it is now, such as after a restore: read the list anew.",
        "example": failure(CursorGone.sentence),
    },
    412: {
        "description": "The task is at none of the versions in `If-Match`. The text says what changed since.",
        "example": failure(
            f"The task is at version 2, not 1: {ENTRY['description']} ({ENTRY['actor']}, {ENTRY['timestamp']})."
        ),
        "headers": VERSION,
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
        "description": "A rule is broken: in the body, the query string, a header, or the id in the path.",
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

BULK_ERRORS: dict[int, dict[str, Any]] = {
    404: {
        "description": "Some of the tasks are not there; the text names them. Nothing was written.",
        "example": failure(f"There is no such task: {TASK_ID}, {OTHER_ID}."),
    },
    412: {
        "description": "Some of the tasks are at another version than their element says. The text names the first"
        " ones, and what changed since. Nothing was written.",
        "example": failure(
            f"{TASK_ID}: The task is at version 2, not 1: {ENTRY['description']} ({ENTRY['actor']},"
            f" {ENTRY['timestamp']})."
        ),
    },
}
"""The errors of a write on many tasks that say something else."""
