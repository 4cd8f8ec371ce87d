"""Server-sent events: a request that asks for them, and an answer that goes on as long as the client stays.

The format is the HTML standard's (section 9.2, Server-sent events).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import UnprocessableEntity

from taskapi.cursors import Cursor
from taskapi.errors import CursorGone, DatabaseUnavailable
from taskapi.schemas.changes import CURSOR_RULE
from taskapi.web.envelope import STATUSES
from taskapi.web.followers import MOST, Follower

EVENTS = "text/event-stream"

HEARTBEAT = 15.0
"""Seconds without an event after which a comment tells that the stream is alive, to the client and all in between."""

RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a client comes back."""

COMMENT = b": nothing new\n\n"
AWAY = b": the database is away\n\n"

HEADERS = [
    ("Content-Type", EVENTS),
    ("Cache-Control", "no-store"),
    # nginx would collect the events.
    ("X-Accel-Buffering", "no"),
]


def are_wanted() -> bool:
    """Whether the request accepts events rather than JSON."""
    if EVENTS not in request.environ.get("HTTP_ACCEPT", "").lower():
        return False
    return request.accept_mimetypes.best_match(["application/json", EVENTS]) == EVENTS


def last_event_id() -> Cursor | None:
    """The cursor of the last event that the client has. Raises UnprocessableEntity if it is none."""
    text = request.environ.get("HTTP_LAST_EVENT_ID")
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except ValueError:
        raise UnprocessableEntity(f"Last-Event-ID: {CURSOR_RULE}") from None


class EventStream(Response):
    """An answer of events. It ends when the client leaves, or with the process."""

    def __init__(self, follower: Follower, limit: int) -> None:
        """Raises what Repository.list_changes() does: so far, the client can be told by a status."""
        self._follower = follower
        self._limit = limit
        try:
            self._text = RETRY + follower.next(limit).events
        except BaseException:
            follower.close()
            raise
        self.status, self.headers = STATUSES[200], Headers(HEADERS)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Send the answer (PEP 3333)."""
        start_response(self.status, list(self.headers))
        if environ["REQUEST_METHOD"] == "HEAD":
            self._follower.close()
            return ()
        return Events(self._follower, self._text, self._limit)


class Events:
    """The text of a stream, piece by piece. The server closes it."""

    def __init__(self, follower: Follower, text: bytes, limit: int) -> None:
        self._follower = follower
        self._text = text
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        follower = self._follower
        yield self._text
        # It may be large, and the stream goes on for long.
        self._text = b""
        while not follower.is_over:
            try:
                yield follower.next(self._limit, HEARTBEAT, most=MOST).events or COMMENT
            except CursorGone:
                # The client comes back, and is told so.
                return
            except DatabaseUnavailable as error:
                yield AWAY
                follower.pause(error.retry_after)

    def close(self) -> None:
        """The client has left, or the stream has ended."""
        self._follower.close()
