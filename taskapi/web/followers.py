"""Those who follow the changes, as a stream or with a wait. However many they are, one thread reads for all.

While somebody follows, the thread reads what is new every POLL seconds, for each owner apart, and keeps it for a while
(feeds.py). A follower takes it from there. Those who are behind what is kept ask the database until they have caught
up; one read is for all who are at the same place (shared_reads.py). While nobody follows, nothing is read.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from taskapi.callers import Caller
from taskapi.cursors import Cursor, Snapshot
from taskapi.deadline import deadline
from taskapi.errors import CursorGone, DatabaseUnavailable, PoolBusy, RolledBack, TooManyFollowers
from taskapi.repository.changes import Changes
from taskapi.settings import Settings
from taskapi.web.feeds import Batch, Feed, beyond
from taskapi.web.shared_reads import SharedReads, Wanted

log = logging.getLogger("taskapi.web")

POLL = 0.15
"""Seconds between two reads for all."""

PAUSE = 1.0
"""Seconds until followers read again after a defect."""

MOST = 1000
"""How many changes one read for all takes. If there are more, such as after an import, followers read them as those do
who are behind."""

KEPT = 1024 * 1024
"""Bytes of changes that are kept for followers that are slow to take them, of all owners together."""

SHARE = 10
"""Where there are many owners, each may have one in so many of MAX_STREAMS."""

ANSWER_TIME = 5.0
"""Seconds that a wait leaves of its request's deadline."""


class Source(Protocol):
    """What followers need of the repository."""

    def of(self, owner: str) -> "Source":
        """The changes of one owner."""

    def list_changes(self, *, after: Cursor | None, limit: int) -> Changes:
        """See taskapi.repository.changes."""

    def owners_with_news(self, seen: Mapping[str, Snapshot]) -> set[str]:
        """See taskapi.repository.changes."""


class Followers:
    """All who follow in this process, whosever changes they follow."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._most = settings.max_streams
        # Of many owners, none shuts the others out.
        self._most_each = max(1, settings.max_streams // SHARE) if settings.takes_jwts else settings.max_streams
        self._patience = settings.db_pool_timeout
        self.longest_wait = max(0.0, settings.request_deadline - ANSWER_TIME)
        self.reads = SharedReads(self._read, settings.db_pool_timeout)
        self._count = 0
        self._over = threading.Event()
        self._turn = threading.Lock()
        # Guards the feeds, and whether they are read.
        self._lock = threading.Lock()
        self._feeds: dict[str, Feed] = {}
        self._is_reading = False
        self.era = 0
        """It changes when the database may have been set back, and no longer know a cursor that it gave before."""

    def join(self, caller: Caller, after: Cursor | None) -> "Follower":
        """One more follower of the caller's changes, from this cursor on; None: from the first change. It must be
        closed in the end.

        Raises TooManyFollowers.
        """
        with self._lock:
            feed = self._feeds.get(caller.owner) or Feed(self._lock)
            if self._count >= self._most or feed.followers >= self._most_each:
                raise TooManyFollowers
            self._count += 1
            feed.followers += 1
            self._feeds[caller.owner] = feed
            is_known = after is not None and (
                after == feed.start or any(after == batch.changes.cursor for batch in feed.batches)
            )
            return Follower(self, caller, after, self.era if is_known else None)

    def leave(self, owner: str) -> None:
        """One follower of this owner's changes less."""
        with self._lock:
            self._count -= 1
            feed = self._feeds[owner]
            feed.followers -= 1
            if not feed.followers:
                del self._feeds[owner]
            if not self._count:
                self.reads.forget()

    def end(self) -> None:
        """This process is about to end: no follower waits any longer."""
        self._over.set()
        with self._lock:
            for feed in self._feeds.values():
                feed.changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether this process is about to end."""
        return self._over.is_set()

    def pause(self, seconds: float) -> None:
        """Wait so long, unless this process is about to end."""
        self._over.wait(seconds)

    def _read(self, wanted: Wanted) -> Batch:
        """Ask the database: one at a time, so that following takes one connection."""
        with self._alone():
            changes = self._source.of(wanted.owner).list_changes(after=wanted.after, limit=wanted.limit)
        return Batch(wanted.after, changes)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While inside, nobody else of this process reads changes."""
        if not self._turn.acquire(timeout=max(0.0, min(self._patience, deadline.get() - time.monotonic()))):
            raise PoolBusy
        try:
            yield
        finally:
            self._turn.release()
            # Who waits for a turn goes first, also where this one has more to read.
            time.sleep(0)

    def after(self, owner: str, cursor: Cursor, limit: int, until: float) -> Batch | None:
        """The first batch after a position that this database has given, as soon as there is one.

        It has no changes if none has come `until` then, a time.monotonic(), or if this process is about to end. None:
        what comes after the cursor is not kept, or is more than `limit`.
        """
        if cursor.place:
            return None
        with self._lock:
            feed = self._feeds[owner]
            if feed.start is None and not self.is_over:
                feed.start = cursor
                if not self._is_reading:
                    self._is_reading = True
                    threading.Thread(target=self._poll, daemon=True).start()
            while feed.start and not self.is_over:
                if cursor.upto.age < feed.start.upto.age:
                    return None
                for batch in feed.batches:
                    if batch.changes.cursor.upto.age > cursor.upto.age:
                        found = beyond(batch, cursor)
                        if found.changes.items:
                            return found if len(found.changes.items) <= limit else None
                        cursor = found.changes.cursor
                if not feed.changed.wait(max(0.0, until - time.monotonic())):
                    break
            if feed.start is None and not self.is_over:
                return None
        return Batch(cursor, Changes((), (), cursor, has_more=False))

    def _poll(self) -> None:
        """Read what is new, as long as somebody follows."""
        while True:
            with self._lock:
                ends = {owner: feed.end for owner, feed in self._feeds.items() if feed.end}
                if self.is_over or not ends:
                    for feed in self._feeds.values():
                        feed.forget()
                    self._is_reading = False
                    return
            pause = POLL
            try:
                for owner in self._with_news(ends):
                    self._read_for_all(owner, ends[owner])
            except DatabaseUnavailable as error:
                pause = error.retry_after
            except Exception:
                log.exception("reading the changes for all who follow failed")
                self.pause(PAUSE)
                self._forget(ends)
            self.pause(pause)

    def _with_news(self, ends: Mapping[str, Cursor]) -> Iterable[str]:
        """The owners to read for. One owner's changes are read at once: to ask for news first costs as much."""
        if len(ends) == 1:
            return ends
        try:
            with self._alone():
                return self._source.owners_with_news({owner: end.upto for owner, end in ends.items()})
        except RolledBack:
            # The role may lack the right to ask: then each owner's changes are read, which tells, too.
            return ends

    def _read_for_all(self, owner: str, after: Cursor) -> None:
        try:
            changes = self._read(Wanted(owner, after, MOST)).changes
        except CursorGone:
            # Each follower reads by itself, and is told so.
            self._forget([owner])
            return
        if changes.items:
            with self._lock:
                feed = self._feeds.get(owner)
                # Or it is another one: all have left meanwhile, and somebody has come.
                if feed and feed.end == after:
                    feed.keep(Batch(after, changes), KEPT // len(self._feeds))

    def _forget(self, owners: Iterable[str]) -> None:
        with self._lock:
            self.era += 1
            for owner in owners:
                if feed := self._feeds.get(owner):
                    feed.forget()


class Follower:
    """One who follows: has seen what comes before its cursor."""

    def __init__(self, followers: Followers, caller: Caller, after: Cursor | None, era: int | None) -> None:
        """`era`: the one in which the database has given the cursor; None: it is not known that it has."""
        self._followers = followers
        self._owner = caller.owner
        self._expires = time.monotonic() + caller.expires - time.time()
        self._cursor = after
        self._era = era
        self._leave: Callable[[str], None] | None = followers.leave

    def next(self, limit: int, seconds: float = 0.0, *, most: int | None = None) -> Batch:
        """What comes next: at most `limit` changes, or `most` where others get the same ones.

        If there is nothing, waits for `seconds`; then, or if this process is about to end, the batch is empty. Raises
        what Repository.list_changes() does, and can be called again then.
        """
        until = min(time.monotonic() + seconds, self._expires)
        while True:
            batch = None
            era = self._followers.era
            if self._cursor and self._era == era:
                batch = self._followers.after(self._owner, self._cursor, most or limit, until)
            if batch is None:
                batch, is_new = self._followers.reads.get(Wanted(self._owner, self._cursor, limit))
                self._era = era if is_new else None
            self._cursor = batch.changes.cursor
            if batch.changes.items or time.monotonic() >= until or self._followers.is_over:
                return batch

    @property
    def is_over(self) -> bool:
        """Whether this process is about to end, or the caller's token has expired."""
        return self._followers.is_over or time.monotonic() >= self._expires

    def pause(self, seconds: float) -> None:
        """Wait so long, unless this process is about to end."""
        self._followers.pause(seconds)

    def close(self) -> None:
        """Follow no longer."""
        if self._leave:
            self._leave(self._owner)
            self._leave = None

    def __enter__(self) -> "Follower":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
