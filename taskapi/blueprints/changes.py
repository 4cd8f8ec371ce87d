"""The changes: every entry of the history once, as soon as it is committed; as pages, with a wait, or as a stream."""

from typing import Any, cast

from flask import Response, current_app, request
from werkzeug.exceptions import UnprocessableEntity

from taskapi.schemas.changes import ChangesAnswerSchema, ChangesQuerySchema
from taskapi.web import events, examples
from taskapi.web.access import caller
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success
from taskapi.web.events import EventStream
from taskapi.web.followers import Followers

changes = Blueprint("Changes", __name__, url_prefix="/api/v1/changes", description="What happens to the tasks.")


def followers() -> Followers:
    """Those who follow in the current application."""
    return cast(Followers, current_app.extensions["taskapi.followers"])


@changes.get("")
@changes.arguments(ChangesQuerySchema(), location="query")
@changes.answers(200, ChangesAnswerSchema, example=examples.success(examples.CHANGES), errors=(410,))
@changes.streamed(example=examples.EVENTS)
def list_changes(query: dict[str, Any]) -> Response:
    """Follow the changes

    Every entry of the history once, as soon as it is committed, those of one task in their order. `task` is the task
    after the change, null after its deletion: who keeps a copy puts it in place or removes it, and has the list.
    With `Accept: text/event-stream`, the answer is a stream of server-sent events, which does not end.
    """
    after, limit, seconds = query.get("after"), query["limit"], query.get("wait", 0)
    if events.are_wanted():
        if "wait" in query:
            raise UnprocessableEntity("wait: is not for a stream, which always waits")
        return EventStream(followers().join(caller(), events.last_event_id() or after), limit)
    if not seconds or request.method == "HEAD":
        return success(changes.repository.list_changes(after=after, limit=limit).json)
    with followers().join(caller(), after) as follower:
        return success(follower.next(limit, min(seconds, followers().longest_wait)).changes.json)
