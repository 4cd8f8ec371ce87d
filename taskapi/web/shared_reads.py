"""The reads of followers who are behind. Those who want the same at about the same time share one.

After a deploy, all followers are at the same few places. If each one read for itself, changes could come faster than
they are read.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from taskapi.cursors import Cursor
from taskapi.deadline import deadline
from taskapi.errors import PoolBusy
from taskapi.web.feeds import Batch

KEPT = 1024 * 1024
"""Bytes of changes that are kept for followers who come a little later, of all owners together."""

FRESH = 5.0
"""Seconds for which they may take a batch."""

FRESH_END = 0.15
"""Seconds for which they may take a batch that ends with the newest change."""


@dataclass(frozen=True)
class Wanted:
    """An owner's first changes after a cursor, at most `limit`."""

    owner: str
    after: Cursor | None
    limit: int


@dataclass(eq=False)
class Read:
    """One read. `batch` is None if it has failed."""

    batch: Future[Batch | None] = field(default_factory=Future)
    until: float = math.inf
    """Until when others may take the batch, as a time.monotonic(); infinite while it is being read."""
    size: int = 0


class SharedReads:
    """The reads of all owners."""

    def __init__(self, read: Callable[[Wanted], Batch], patience: float) -> None:
        """`read` asks the database; another one waits for it for at most `patience` seconds."""
        self._read = read
        self._patience = patience
        self._lock = threading.Lock()
        self._reads: dict[Wanted, Read] = {}

    def get(self, wanted: Wanted) -> tuple[Batch, bool]:
        """What is wanted, and whether the database was asked just now: not if another one had read it before.

        Raises what `read` does, and PoolBusy if another one's read takes too long.
        """
        until = min(time.monotonic() + self._patience, deadline.get())
        while True:
            with self._lock:
                read = self._reads.get(wanted)
                if read is None or read.until <= time.monotonic():
                    mine = self._reads[wanted] = Read()
                    break
            is_new = not read.batch.done()
            try:
                batch = read.batch.result(max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise PoolBusy from None
            if batch:
                return batch, is_new
        return self._lead(wanted, mine), True

    def forget(self) -> None:
        """Keep nothing of what was read."""
        with self._lock:
            self._reads = {wanted: read for wanted, read in self._reads.items() if not read.batch.done()}

    def _lead(self, wanted: Wanted, read: Read) -> Batch:
        batch = None
        try:
            batch = self._read(wanted)
            return batch
        finally:
            try:
                self._settle(wanted, read, batch)
            finally:
                # Where it failed, the others try by themselves: what went wrong may be this one's deadline.
                read.batch.set_result(batch)

    def _settle(self, wanted: Wanted, read: Read, batch: Batch | None) -> None:
        """Keep the batch for a while, unless there is nothing in it: there may be something by now."""
        now = time.monotonic()
        with self._lock:
            # It comes last now: the oldest one is the first.
            self._reads.pop(wanted, None)
            if batch and 0 < batch.size <= KEPT:
                read.until, read.size = now + (FRESH if batch.changes.has_more else FRESH_END), batch.size
                self._reads[wanted] = read
            total = 0
            for each, kept in reversed(list(self._reads.items())):
                if kept.until <= now or total + kept.size > KEPT:
                    del self._reads[each]
                else:
                    total += kept.size
