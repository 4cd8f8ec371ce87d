"""The history: every change of every task, newest first."""

import json
from typing import Any

import orjson
from flask import Response

from taskapi.keyset import cursor_after
from taskapi.repository.history import Entries
from taskapi.schemas.history import HistoryAnswerSchema, HistorySelectionSchema
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success
from taskapi.web.links import next_page

history = Blueprint("History", __name__, url_prefix="/api/v1/history", description="What happened to the tasks.")


@history.get("")
@history.arguments(HistorySelectionSchema(), location="query")
@history.answers(200, HistoryAnswerSchema, example=examples.success(examples.HISTORY), headers=examples.NEXT_ENTRIES)
def list_history(selection: dict[str, Any]) -> Response:
    """List the history

    Newest entry first. The entries of one task are in the order of its changes. A page past the end is empty. Pages by
    number shift while others write: the `Link` to the next page continues after this one's last entry instead.
    """
    page = _page(**selection)
    # Not orjson: a page number may be of any size.
    figures = _pagination(page, selection["limit"], None if selection["place"] else selection["offset"])
    pagination = json.dumps(figures, separators=(",", ":")).encode()
    return success(
        b'{"items":%s,"pagination":%s}' % (page.items, pagination), headers=_link(page, selection["filters"])
    )


def _page(filters: dict[str, Any], limit: int, offset: int, place: Any) -> Entries:
    if place:
        return history.repository.select_history(**filters, after=(place.moment, place.entry), limit=limit)
    return history.repository.history_page(**filters, limit=limit, offset=offset)


def _pagination(page: Entries, limit: int, offset: int | None) -> dict[str, int | bool | None]:
    return {
        "total_count": page.total,
        "total_pages": -(-page.total // limit),
        "current_page": None if offset is None else offset // limit + 1,
        "page_size": limit,
        "has_next": page.has_more,
        "has_prev": None if offset is None else offset > 0 and page.total > 0,
    }


def _link(page: Entries, filters: dict[str, Any]) -> dict[str, str] | None:
    if not page.has_more:
        return None
    last = orjson.loads(page.items)[-1]
    cursor = cursor_after(filters, moment=last["timestamp"], entry=last["task_id"])
    return {"Link": next_page("/api/v1/history", cursor, without=frozenset({"page", "offset"}))}
