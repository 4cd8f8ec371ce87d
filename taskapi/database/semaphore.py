"""A semaphore that serves its waiters in the order of their arrival, which threading's does not promise."""

import threading
import time
from collections import deque


class FairSemaphore:
    """Lets `count` holders in; a permit that comes free goes to whoever has waited longest."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._withheld: deque[float] = deque()
        self._waiters: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a permit. Return whether there was one."""
        with self._mutex:
            self._take_back()
            if self._free:
                self._free -= 1
                return True
            waiter = threading.Lock()
            waiter.acquire()
            self._waiters.append(waiter)
        try:
            if self._wait(waiter, timeout):
                return True
        except BaseException:
            self._give_up(waiter, keep=False)
            raise
        return self._give_up(waiter, keep=True)

    def release(self) -> None:
        """Give a permit back."""
        with self._mutex:
            self._give()
            self._take_back()

    def withhold(self, seconds: float) -> bool:
        """Give a permit back that helps nobody now: it is there again `seconds` after the one withheld before it.

        Return False, and leave the permit with its holder, where nobody else holds one: somebody has to go on trying.
        """
        with self._mutex:
            if self._count - self._free - len(self._withheld) <= 1:
                return False
            now = time.monotonic()
            self._withheld.append(max(now, self._withheld[-1] if self._withheld else now) + seconds)
            return True

    def restore(self) -> None:
        """Have every permit that is withheld back now."""
        with self._mutex:
            while self._withheld:
                self._withheld.popleft()
                self._give()

    def _wait(self, waiter: threading.Lock, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while (now := time.monotonic()) < deadline:
            with self._mutex:
                self._take_back()
                until = min(deadline, self._withheld[0]) if self._withheld else deadline
            if waiter.acquire(timeout=max(until - now, 0.0)):
                return True
        return False

    def _give(self) -> None:
        if self._waiters:
            self._waiters.popleft().release()
        else:
            self._free += 1

    def _take_back(self) -> None:
        while self._withheld and self._withheld[0] <= time.monotonic():
            self._withheld.popleft()
            self._give()

    def _give_up(self, waiter: threading.Lock, *, keep: bool) -> bool:
        """Leave the queue; return whether a permit that arrived at the last moment is kept."""
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                return False
        if not keep:
            self.release()
        return keep
