"""The answer to GET /tasks: its tag, its links, and how many tasks match."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

from taskapi import __version__
from taskapi.cursors import position_cursor, position_of
from taskapi.keyset import Place, cursor_after, digest
from taskapi.repository.tasks import Listed
from taskapi.web.conditions import REVALIDATED, Known, tagged
from taskapi.web.envelope import not_modified, success
from taskapi.web.links import link, next_page

TASKS, CHANGES = "/api/v1/tasks", "/api/v1/changes"


LONGEST = 1000
"""The most characters of a position in a header: a snapshot names every transaction that was running."""


class ListTags:
    """The tags of the answers to one request: what they show, and a position in the history."""

    def __init__(self, selection: Mapping[str, Any]) -> None:
        # Another version may write its answers differently.
        self._name = digest({**selection, "": __version__})

    def tag(self, position: str) -> str | None:
        """The tag of an answer that shows the tasks as of this position."""
        text = _short(position)
        return text and f"{self._name}.{text}"

    def positions(self, known: Known) -> list[str]:
        """The positions of those tags that are of answers to the same request."""
        parts = [tag.partition(".") for tag in known.tags or ()]
        return [position for name, _, text in parts if name == self._name and (position := position_of(text))]


def answer_to_list(
    listed: Listed,
    tags: ListTags,
    known: Known,
    *,
    filters: Mapping[str, Any] | None = None,
    place: Place | None = None,
) -> Response:
    """The answer: a page of these filters, which begins at this place (None: at the start)."""
    headers = dict(REVALIDATED)
    tag = tags.tag(listed.position) if listed.position else None
    if tag:
        headers |= tagged(tag)
    if listed.tasks is None or known.tags is None:
        return not_modified(headers)
    # Changes go on from the first page. Without a position, this page may be older than that one.
    shown = (place.position if place else _short(listed.position)) if listed.position else None
    links = []
    if listed.last:
        last = orjson.loads(listed.last)
        cursor = cursor_after(
            filters or {},
            moment=last["created_at"],
            entry=last["id"],
            is_completed=last["is_completed"],
            position=shown,
        )
        links.append(next_page(TASKS, cursor))
    if shown:
        links.append(link("monitor", CHANGES, {"after": shown}))
    if links:
        headers["Link"] = ", ".join(links)
    if listed.total is not None:
        headers["X-Total-Count"] = str(listed.total)
    return success(listed.tasks, headers=headers)


def _short(position: str) -> str | None:
    """The position as a cursor of the changes; None if it would be too long for a header."""
    cursor = position_cursor(position)
    return cursor if len(cursor) <= LONGEST else None
