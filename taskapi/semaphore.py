"""A semaphore that serves its waiters in the order of their arrival, which threading's does not promise."""

import threading
from collections import deque


class FairSemaphore:
    """Lets `count` holders in; a permit that comes free goes to whoever has waited longest."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiters: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a permit. Return whether there was one."""
        with self._mutex:
            if self._free:
                self._free -= 1
                return True
            waiter = threading.Lock()
            waiter.acquire()
            self._waiters.append(waiter)
        try:
            if waiter.acquire(timeout=max(timeout, 0.0)):
                return True
        except BaseException:
            self._give_up(waiter, keep=False)
            raise
        return self._give_up(waiter, keep=True)

    def release(self) -> None:
        """Give a permit back."""
        with self._mutex:
            if self._waiters:
                self._waiters.popleft().release()
            else:
                self._free += 1

    def _give_up(self, waiter: threading.Lock, *, keep: bool) -> bool:
        """Leave the queue; return whether a permit that arrived at the last moment is kept."""
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                return False
        if not keep:
            self.release()
        return keep
