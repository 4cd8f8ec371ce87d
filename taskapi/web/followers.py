"""Those who follow the changes, as a stream or with a wait. However many they are, one thread reads for all.

While somebody follows, the thread reads what is new every POLL seconds and keeps it for a while. A follower takes it
from there. One who is behind what is kept reads by itself until it has caught up. Nobody follows: nothing is read.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Protocol

from taskapi.cursors import Cursor
from taskapi.deadline import deadline
from taskapi.errors import CursorGone, DatabaseUnavailable, PoolBusy, TooManyFollowers
from taskapi.repository.changes import Changes
from taskapi.settings import Settings

log = logging.getLogger("taskapi.web")

POLL = 0.15
"""Seconds between two reads for all."""

PAUSE = 1.0
"""Seconds until followers read again after a defect."""

MOST = 1000
"""How many changes one read for all takes. If there are more, such as after an import, each follower reads them."""

KEPT = 1024 * 1024
"""Bytes of changes that are kept for followers that are slow to take them."""


ANSWER_TIME = 5.0
"""Seconds that a wait leaves of its request's deadline."""


class Source(Protocol):
    """What followers need of the repository."""

    def list_changes(self, *, after: Cursor | None, limit: int) -> Changes:
        """See taskapi.repository.changes."""


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


class Followers:
    """All who follow in this process."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._most = settings.max_streams
        self._patience = settings.db_pool_timeout
        self.longest_wait = max(0.0, settings.request_deadline - ANSWER_TIME)
        self._count = 0
        self._over = threading.Event()
        self._turn = threading.Lock()
        # Guards what follows, and tells when there is more.
        self._changed = threading.Condition()
        self._start: Cursor | None = None
        self._batches: deque[Batch] = deque()

    def join(self, after: Cursor | None) -> "Follower":
        """One more follower, from this cursor on; None: from the first change. It must be closed in the end.

        Raises TooManyFollowers.
        """
        with self._changed:
            if self._count >= self._most:
                raise TooManyFollowers
            self._count += 1
            is_known = after is not None and (
                after == self._start or any(after == batch.changes.cursor for batch in self._batches)
            )
        return Follower(self, after, is_checked=is_known)

    def leave(self) -> None:
        """One follower less."""
        with self._changed:
            self._count -= 1

    def end(self) -> None:
        """This process is about to end: no follower waits any longer."""
        self._over.set()
        with self._changed:
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether this process is about to end."""
        return self._over.is_set()

    def pause(self, seconds: float) -> None:
        """Wait so long, unless this process is about to end."""
        self._over.wait(seconds)

    def read(self, after: Cursor | None, limit: int) -> Changes:
        """Ask the database for the changes after a cursor: one at a time, so that following takes one connection.

        Raises what the repository does.
        """
        if not self._turn.acquire(timeout=max(0.0, min(self._patience, deadline.get() - time.monotonic()))):
            raise PoolBusy
        try:
            return self._source.list_changes(after=after, limit=limit)
        finally:
            self._turn.release()
            # Who waits for a turn goes first, also where this one has more to read.
            time.sleep(0)

    def after(self, cursor: Cursor, limit: int, until: float) -> Batch | None:
        """The first batch after a position that this database has given, as soon as there is one.

        It has no changes if none has come `until` then, a time.monotonic(), or if this process is about to end. None:
        what comes after the cursor is not kept, or is more than `limit`.
        """
        if cursor.place:
            return None
        with self._changed:
            if self._start is None and not self.is_over:
                self._start = cursor
                threading.Thread(target=self._poll, daemon=True).start()
            while self._start and not self.is_over:
                if cursor.upto.age < self._start.upto.age:
                    return None
                for batch in self._batches:
                    if batch.changes.cursor.upto.age > cursor.upto.age:
                        found = _beyond(batch, cursor)
                        if found.changes.items:
                            return found if len(found.changes.items) <= limit else None
                        cursor = found.changes.cursor
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    break
            if self._start is None and not self.is_over:
                return None
        return Batch(cursor, Changes((), (), cursor, has_more=False))

    def _poll(self) -> None:
        """Read what is new, as long as somebody follows."""
        while True:
            with self._changed:
                if self._over.is_set() or not self._count or not self._start:
                    self._forget()
                    return
                after = self._batches[-1].changes.cursor if self._batches else self._start
            pause = POLL
            try:
                changes = self.read(after, MOST)
            except DatabaseUnavailable as error:
                pause = error.retry_after
            except Exception as error:  # Each follower reads by itself, and is told so.
                if not isinstance(error, CursorGone):
                    log.exception("reading the changes for all who follow failed")
                    self.pause(PAUSE)
                with self._changed:
                    self._forget()
                    return
            else:
                if changes.items:
                    self._keep(Batch(after, changes))
            self.pause(pause)

    def _keep(self, batch: Batch) -> None:
        """Give a batch to all who follow, and drop the oldest ones."""
        end = batch.changes.cursor
        with self._changed:
            self._batches.append(batch)
            # Part of a batch is no use: who has seen some of the batch could not go on inside of it.
            while self._batches and (end.place or sum(kept.size for kept in self._batches) > KEPT):
                dropped = self._batches.popleft().changes.cursor
                self._start = Cursor(dropped.upto, dropped.newest)
            self._changed.notify_all()

    def _forget(self) -> None:
        self._start = None
        self._batches.clear()
        self._changed.notify_all()


def _beyond(batch: Batch, cursor: Cursor) -> Batch:
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


class Follower:
    """One who follows: has seen what comes before its cursor."""

    def __init__(self, followers: Followers, after: Cursor | None, *, is_checked: bool) -> None:
        """`is_checked`: this database has given the cursor, and nobody else."""
        self._followers = followers
        self._cursor = after
        self._is_checked = is_checked
        self._leave: Callable[[], None] | None = followers.leave

    def next(self, limit: int, seconds: float = 0.0, *, most: int | None = None) -> Batch:
        """What comes next: at most `limit` changes, or `most` where others get the same ones.

        If there is nothing, waits for `seconds`; then, or if this process is about to end, the batch is empty. Raises
        what Repository.list_changes() does, and can be called again then.
        """
        until = time.monotonic() + seconds
        while True:
            batch = None
            if self._cursor and self._is_checked:
                batch = self._followers.after(self._cursor, most or limit, until)
            if batch is None:
                batch = Batch(self._cursor, self._followers.read(self._cursor, limit))
                self._is_checked = True
            self._cursor = batch.changes.cursor
            if batch.changes.items or time.monotonic() >= until or self._followers.is_over:
                return batch

    @property
    def is_over(self) -> bool:
        """Whether this process is about to end."""
        return self._followers.is_over

    def pause(self, seconds: float) -> None:
        """Wait so long, unless this process is about to end."""
        self._followers.pause(seconds)

    def close(self) -> None:
        """Follow no longer."""
        if self._leave:
            self._leave()
            self._leave = None

    def __enter__(self) -> "Follower":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
