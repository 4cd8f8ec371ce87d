"""A semaphore that serves its waiters in the order of their arrival, which threading's does not promise."""

import threading
import time
from collections import deque


class FairSemaphore:
    """Lets `count` holders in; a permit that comes free goes to whoever has waited longest.

    Where nobody waits and nothing is withheld, no lock is taken: append() and pop() of a list are one step each.
    Whoever joins the queue looks for a free permit after that, and whoever frees one looks for a queue after that: so
    at least one of the two sees the other.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free: list[None] = [None] * count
        self._withheld: deque[float] = deque()
        self._waiters: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a permit. Return whether there was one."""
        if not self._waiters and not self._withheld and self._take():
            return True
        waiter = threading.Lock()
        waiter.acquire()
        with self._mutex:
            self._waiters.append(waiter)
            self._serve()
        try:
            if self._wait(waiter, timeout):
                return True
        except BaseException:
            self._give_up(waiter, keep=False)
            raise
        return self._give_up(waiter, keep=True)

    def release(self) -> None:
        """Give a permit back."""
        self._free.append(None)
        if self._waiters or self._withheld:
            with self._mutex:
                self._serve()

    def withhold(self, seconds: float) -> bool:
        """Give a permit back that helps nobody now: it is there again `seconds` after the one withheld before it.

        Return False, and leave the permit with its holder, where nobody else holds one: somebody has to go on trying.
        """
        with self._mutex:
            if self._count - len(self._free) - len(self._withheld) <= 1:
                return False
            now = time.monotonic()
            self._withheld.append(max(now, self._withheld[-1] if self._withheld else now) + seconds)
            return True

    def restore(self) -> None:
        """Have every permit that is withheld back now."""
        with self._mutex:
            self._free += [None] * len(self._withheld)
            self._withheld.clear()
            self._serve()

    def _wait(self, waiter: threading.Lock, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while (now := time.monotonic()) < deadline:
            with self._mutex:
                self._serve()
                until = min(deadline, self._withheld[0]) if self._withheld else deadline
            if waiter.acquire(timeout=max(until - now, 0.0)):
                return True
        return False

    def _take(self) -> bool:
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def _serve(self) -> None:
        """Take back what has been withheld for long enough, and give what is free to those who wait."""
        while self._withheld and self._withheld[0] <= time.monotonic():
            self._withheld.popleft()
            self._free.append(None)
        while self._waiters and self._take():
            self._waiters.popleft().release()

    def _give_up(self, waiter: threading.Lock, *, keep: bool) -> bool:
        """Leave the queue; return whether a permit that arrived at the last moment is kept."""
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                return False
        if not keep:
            self.release()
        return keep
