"""What followers read who are behind: those who want the same at about the same time take what the first one reads.

After a deploy, all followers are at the same few places. If each one read, more would come meanwhile than they read.
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
"""Bytes of changes that are kept for those who come a little later."""

FRESH = 5.0
"""Seconds for which they are kept."""


@dataclass(frozen=True)
class Wanted:
    """An owner's first changes after a cursor, at most `limit`."""

    owner: str
    after: Cursor | None
    limit: int


@dataclass(eq=False)
class Read:
    """What is read, and until when others may take it: a time.monotonic()."""

    batch: Future[Batch] = field(default_factory=Future)
    until: float = math.inf
    size: int = 0


class SharedReads:
    """The reads of a moment, of all owners."""

    def __init__(self, read: Callable[[Wanted], Batch]) -> None:
        """`read` asks the database."""
        self._read = read
        self._lock = threading.Lock()
        self._reads: dict[Wanted, Read] = {}

    def get(self, wanted: Wanted) -> Batch:
        """What is wanted: read now, or by another one who began at most some seconds ago.

        Raises what `read` does, also to those who wait for it; and PoolBusy if the request's deadline passes meanwhile.
        """
        with self._lock:
            known = self._reads.get(wanted)
            if is_first := known is None or known.until <= time.monotonic():
                known = self._reads[wanted] = Read()
        if is_first:
            self._do(wanted, known)
        left = deadline.get() - time.monotonic()
        try:
            return known.batch.result(None if left == math.inf else max(0.0, left))
        except TimeoutError:
            raise PoolBusy from None

    def _do(self, wanted: Wanted, read: Read) -> None:
        try:
            batch = self._read(wanted)
        except BaseException as error:
            self._keep(wanted, read, 0)
            read.batch.set_exception(error)
            raise
        self._keep(wanted, read, batch.size)
        read.batch.set_result(batch)

    def _keep(self, wanted: Wanted, read: Read, size: int) -> None:
        """Let those take it who come later, unless it is empty: there may be something by now."""
        now = time.monotonic()
        with self._lock:
            # The oldest one comes first.
            del self._reads[wanted]
            if size:
                read.until, read.size = now + FRESH, size
                self._reads[wanted] = read
            total = 0
            for each, one in reversed(list(self._reads.items())):
                total += one.size
                if one.until <= now or (one.size and total > KEPT):
                    del self._reads[each]
