"""A semaphore that serves waiters in order of arrival. threading's does not promise this."""

import threading
import time
from collections import deque


class FairSemaphore:
    """Lets `count` holders in. A free permit goes to the waiter that has waited longest.

    Without waiters and withheld permits, it takes no lock, since append() and pop() of a list are atomic. A new waiter
    first joins the queue, and then looks for a free permit. A holder first frees its permit, and then looks for
    waiters. So at least one of the two sees the other.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free: list[None] = [None] * count
        self._withheld: deque[float] = deque()
        self._waiters: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a permit. Return whether the caller has one."""
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
        """Give a permit back that is useless now. It becomes free `seconds` after the one withheld before it.

        If the caller has the only permit, keep it and return False, since one caller must continue to try.
        """
        with self._mutex:
            if self._count - len(self._free) - len(self._withheld) <= 1:
                return False
            now = time.monotonic()
            self._withheld.append(max(now, self._withheld[-1] if self._withheld else now) + seconds)
            return True

    def restore(self) -> None:
        """Free all withheld permits now."""
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
        """Free permits that were withheld for long enough, and give free permits to waiters."""
        while self._withheld and self._withheld[0] <= time.monotonic():
            self._withheld.popleft()
            self._free.append(None)
        while self._waiters and self._take():
            self._waiters.popleft().release()

    def _give_up(self, waiter: threading.Lock, *, keep: bool) -> bool:
        """Leave the queue. Return whether the caller keeps a permit that arrived at the last moment."""
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                return False
        if not keep:
            self.release()
        return keep
