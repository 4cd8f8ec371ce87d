"""The cursors of lists that are read in pages: the sort key of the last entry, and the filters that it belongs to."""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from taskapi.cursors import position_of

LONGEST = 2000
"""The most characters of a cursor."""

MOMENT = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z")
ID = re.compile("[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")

FOREIGN = "must be the cursor of a Link as it stands (leave it out to start anew)"
OTHER_FILTERS = "was made for other filters (leave it out to start anew)"


@dataclass(frozen=True)
class Place:
    """Where the next page begins: after the entry with this sort key. `position`: what the first page showed, as a
    cursor of the changes, if that is known."""

    moment: datetime
    entry: UUID
    is_completed: bool | None = None
    position: str | None = None


def digest(selection: Mapping[str, Any]) -> str:
    """A short name for filters and other parameters: the same for the same ones."""
    text = orjson.dumps(selection, option=orjson.OPT_SORT_KEYS)
    return urlsafe_b64encode(hashlib.sha256(text).digest()[:9]).decode()


def cursor_after(
    filters: Mapping[str, Any],
    *,
    moment: str,
    entry: str,
    is_completed: bool | None = None,
    position: str | None = None,
) -> str:
    """The cursor of the page after the entry with this sort key, as answers write it."""
    text = orjson.dumps([digest(filters), moment, entry, is_completed, position])
    return urlsafe_b64encode(text).decode().rstrip("=")


def place_of(cursor: str, filters: Mapping[str, Any], *, states: bool) -> Place:
    """Where a cursor leads. `states`: whether the sort key begins with the task's state.

    Raises ValueError, with the reason, for a cursor from nowhere, or of other filters.
    """
    try:
        made_for, moment, entry, is_completed, position = orjson.loads(_text(cursor))
        if not (MOMENT.fullmatch(moment) and ID.fullmatch(entry) and type(is_completed) is (bool if states else _NONE)):
            raise ValueError
        if position is not None and position_of(position) is None:
            raise ValueError
        place = Place(datetime.fromisoformat(moment), UUID(entry), is_completed, position)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(FOREIGN) from None
    if made_for != digest(filters):
        raise ValueError(OTHER_FILTERS)
    return place


_NONE = type(None)


def _text(cursor: str) -> bytes:
    if len(cursor) > LONGEST or not re.fullmatch("[A-Za-z0-9_-]+", cursor):
        raise ValueError
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
