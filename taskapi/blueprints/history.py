"""The history: every change of every task, newest first."""

import json
from typing import Any

from flask import Response

from taskapi.schemas.history import HistoryAnswerSchema, HistoryQuerySchema
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success

history = Blueprint("History", __name__, url_prefix="/api/v1/history", description="What happened to the tasks.")


@history.get("")
@history.arguments(HistoryQuerySchema(), location="query")
@history.answers(200, HistoryAnswerSchema, example=examples.success(examples.HISTORY))
def list_history(selection: dict[str, Any]) -> Response:
    """List the history

    Newest entry first. The entries of one task are in the order of its changes. A page past the end is empty.
    """
    total_count, items = history.repository.list_history(**selection)
    # Not orjson: a page number may be of any size.
    figures = _pagination(total_count, selection["limit"], selection["offset"])
    pagination = json.dumps(figures, separators=(",", ":")).encode()
    return success(b'{"items":%s,"pagination":%s}' % (items, pagination))


def _pagination(total_count: int, limit: int, offset: int) -> dict[str, int | bool]:
    return {
        "total_count": total_count,
        "total_pages": -(-total_count // limit),
        "current_page": offset // limit + 1,
        "page_size": limit,
        "has_next": offset + limit < total_count,
        "has_prev": offset > 0 and total_count > 0,
    }
