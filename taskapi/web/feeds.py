"""The changes of one owner that are kept for a while, for those who follow them."""

import threading
from collections import deque
from dataclasses import dataclass
from functools import cached_property

from taskapi.cursors import Cursor
from taskapi.repository.changes import Changes


@dataclass(frozen=True, eq=False)
class Batch:
    """The changes that come after a cursor; some, or none yet."""

    after: Cursor | None
    changes: Changes

    @property
    def size(self) -> int:
        """Bytes of the changes."""
        return sum(map(len, self.changes.items))

    @cached_property
    def events(self) -> bytes:
        """The changes as server-sent events: one each. The last one has the cursor."""
        texts = [b"data: %s\n\n" % item for item in self.changes.items]
        if texts:
            texts[-1] = b"id: %s\n%s" % (str(self.changes.cursor).encode(), texts[-1])
        return b"".join(texts)


class Feed:
    """The changes of one owner that are kept: from `start` on (None: none are), as batches."""

    def __init__(self, lock: threading.Lock) -> None:
        self.changed = threading.Condition(lock)
        """Tells the owner's followers that there is more."""
        self.followers = 0
        self.start: Cursor | None = None
        self.batches: deque[Batch] = deque()

    @property
    def end(self) -> Cursor | None:
        """Up to where the changes are known."""
        return self.batches[-1].changes.cursor if self.batches else self.start

    def keep(self, batch: Batch, most: int) -> None:
        """Give a batch to all who follow. Drop the oldest ones until there are at most so many bytes."""
        end = batch.changes.cursor
        self.batches.append(batch)
        # Part of a batch is no use: who has seen some of the batch could not go on inside of it.
        while self.batches and (end.place or sum(kept.size for kept in self.batches) > most):
            dropped = self.batches.popleft().changes.cursor
            self.start = Cursor(dropped.upto, dropped.newest)
        self.changed.notify_all()

    def forget(self) -> None:
        """Keep nothing. Followers read by themselves."""
        self.start = None
        self.batches.clear()
        self.changed.notify_all()


def beyond(batch: Batch, cursor: Cursor) -> Batch:
    """What of the batch comes after the cursor, which may be later than its start."""
    if batch.after == cursor:
        return batch
    changes = batch.changes
    new = [
        (item, transaction)
        for item, transaction in zip(changes.items, changes.transactions, strict=True)
        if not cursor.upto.sees(transaction)
    ]
    items, transactions = tuple(zip(*new, strict=True)) if new else ((), ())
    return Batch(cursor, Changes(items, transactions, changes.cursor, changes.has_more))
