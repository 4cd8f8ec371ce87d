"""The changes: every entry of the history once, as soon as it is committed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from taskapi.cursors import Cursor, Place, Snapshot
from taskapi.errors import CursorGone, NoCursors
from taskapi.repository.base import Base

BEGINNING: dict[str, Any] = {
    "seen": "1:1:",
    "upto": None,
    "newest": None,
    "after_timestamp": "-infinity",
    "after_id": "00000000-0000-0000-0000-000000000000",
}
"""Where the changes begin: nothing is seen, and every entry comes after this place."""


@dataclass(frozen=True)
class Changes:
    """Some changes in their order, each as JSON text, and the number of the transaction of each. `cursor` is what comes
    after them; `has_more` says that there is something already."""

    items: tuple[bytes, ...]
    transactions: tuple[int, ...]
    cursor: Cursor
    has_more: bool

    @property
    def json(self) -> bytes:
        """The JSON object {items, cursor, has_more}."""
        has_more = b"true" if self.has_more else b"false"
        return b'{"items":[%s],"cursor":"%s","has_more":%s}' % (
            b",".join(self.items),
            str(self.cursor).encode(),
            has_more,
        )


class ChangesOfTasks(Base):
    """The statements of sql/changes.sql."""

    def list_changes(self, *, after: Cursor | None, limit: int) -> Changes:
        """The first `limit` changes after the cursor; without one, from the first entry of the history on.

        Raises CursorGone if the cursor is of another database than this one, or of a time that this one has lost.
        Raises NoCursors on a standby.
        """
        outcome, items, transactions, goes_on, has_more, position, timestamp, task_id = self._read(
            "list_changes", limit=limit, **(_parameters(after) if after else BEGINNING)
        )
        if outcome == b"standby":
            raise NoCursors
        if outcome == b"gone":
            raise CursorGone
        cursor = Cursor.of_position(position.decode())
        if goes_on:
            cursor = Cursor(cursor.upto, cursor.newest, Place(_seen(after), timestamp.decode(), task_id.decode()))
        numbers = tuple(map(int, transactions.split()))
        return Changes(tuple(items.split(b"\n")) if items else (), numbers, cursor, has_more)

    def owners_with_news(self, seen: Mapping[str, Snapshot]) -> set[str]:
        """Those of the owners that have entries which the snapshot does not see that is given for each."""
        snapshots = [str(snapshot) for snapshot in seen.values()]
        (owners,) = self._read("owners_with_news", owners=list(seen), snapshots=snapshots)
        return set(orjson.loads(owners))


def _seen(after: Cursor | None) -> Snapshot:
    """What is not in the batch after the cursor."""
    if after is None:
        return Snapshot.parse(BEGINNING["seen"])
    return after.place.seen if after.place else after.upto


def _parameters(after: Cursor) -> dict[str, Any]:
    place = after.place
    return {
        "seen": str(_seen(after)),
        "upto": str(after.upto) if place else None,
        "newest": after.newest,
        "after_timestamp": place.timestamp if place else None,
        "after_id": place.task_id if place else None,
    }
