"""What schemathesis cannot know from an OpenAPI document; it loads this by itself (SCHEMATHESIS_HOOKS)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import schemathesis

from taskapi.cursors import BASE64, position_cursor
from taskapi.schemas.fields import MOMENT, is_idempotency_key
from taskapi.schemas.headers import TAGS

CURSOR = position_cursor("3:3:/")
"""A cursor of the changes that every database has: nothing is seen."""

LONGEST_QUERY = 6500
"""The most characters of a parameter, percent-encoded: what does not fit into a request's first line is answered by
the server, which knows no document."""

DAYS = {"from": "2026-11-01", "before": "2026-11-25"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make true what a document cannot say: then valid data that is refused is a finding. What breaks a rule that the
    document has is sent as it is.

    - A key belongs to one request for good: with another one the contract demands 422.
    - A condition is about the versions that a task is at: with others the contract demands 412.
    - A cursor comes from an answer. One of a page belongs to its filters, and stands without `page` and `offset`.
    - A time zone is one of some six hundred. A range of days has an order. A time of the past is not in the future, and
      not before a task was created; a list of then takes few parameters.
    - A version to restore is not a deletion.
    - One undo is of a thousand tasks at most: of what was written in the last second. Too many would be of the
      Change-Set 0, which it sends where it can draw none.
    """
    _headers(case.headers or {})
    path, query = case.operation.path, case.query or {}
    if path.endswith("/restore") and isinstance(case.body, dict) and type(case.body.get("version")) is int:
        case.body["version"] = min(case.body["version"], 1)
    if path.endswith("/undo") and isinstance(case.body, dict):
        now = datetime.now(UTC)
        for name, moment in {"since": now - timedelta(seconds=1), "until": now}.items():
            if MOMENT.fullmatch(str(case.body.get(name))):
                case.body[name] = moment.isoformat()
    for name, value in query.items():
        text = str(value)
        if name == "after" and path.endswith("/changes") and BASE64.fullmatch(text):
            query[name] = CURSOR
        elif name == "tz" and 0 < len(text) <= 255:
            query[name] = "Europe/Berlin"
        elif name in DAYS and path.endswith("/daily") and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            query[name] = DAYS[name]
        elif name == "as_of" and MOMENT.fullmatch(text):
            query[name] = datetime.now(UTC).isoformat()
        elif isinstance(value, str) and len(value) > LONGEST_QUERY // 12:
            query[name] = value[: max(LONGEST_QUERY // 12, 256)] if not value.isascii() else value[:LONGEST_QUERY]
    if path.endswith(("/tasks", "/history")):
        query.pop("cursor", None)
    if path.endswith("/tasks"):
        query.pop("as_of", None)


@schemathesis.check
def a_deleted_task_is_gone(context: Any, response: Any, case: Any) -> None:
    """For `use_after_free`, which knows no restore: look at once whether what was deleted is away."""
    path = case.operation.path
    if response.request.method == "DELETE" and path.endswith("/{task_id}") and response.status_code == 200:
        found = httpx.get(response.request.url, trust_env=False)
        assert found.status_code == 404, f"a deleted task is still there: {found.status_code}"


def _headers(headers: Any) -> None:
    for name, value in headers.items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and is_idempotency_key(value):
            headers[name] = str(uuid4())
        if name.lower() == "change-set" and value == "0":
            headers[name] = str(uuid4())
        # For what it can draw no value by the pattern, it sends 0 as a valid one.
        if name.lower() in ("if-match", "if-none-match") and (value == "0" or re.fullmatch(TAGS, str(value))):
            headers[name] = "*"
        if name.lower() == "last-event-id" and BASE64.fullmatch(str(value)):
            headers[name] = CURSOR
