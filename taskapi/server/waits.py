"""Waits for sockets with one timer for all of them, where gevent starts and stops one for each."""

import math
import time
from typing import Any

import gevent
from gevent.hub import Waiter

READABLE, WRITABLE = 1, 2
"""What gevent's loop.io() calls them."""


class Waits:
    """The waits of this process's greenlets, each for a socket, and until a deadline.

    The one timer runs until the earliest deadline of those that have waited since it was set. Nearly all waits end long
    before: for them, nothing is started.
    """

    def __init__(self) -> None:
        """For the greenlets of the thread that calls this."""
        self._hub = gevent.get_hub()
        self._deadlines: dict[Any, float] = {}
        self._timer: Any = None
        self._due = math.inf

    def __call__(self, descriptor: int) -> "SocketWait":
        """What waits for this socket, for as long as it is open."""
        return SocketWait(self, self._hub.loop, descriptor)

    def until(self, watcher: Any, deadline: float) -> bool:
        """Wait until the watcher, which has not been started, tells of its event; False if `deadline` comes first.

        Each wait has a waiter of its own: who is late to switch to it finds nobody there, and never the next wait.
        """
        waiter = Waiter(self._hub)
        self._deadlines[waiter] = deadline
        try:
            if deadline < self._due:
                self._wake_at(deadline)
            watcher.start(waiter.switch, True)
            return bool(waiter.get())
        finally:
            watcher.stop()
            del self._deadlines[waiter]

    def _wake_at(self, deadline: float) -> None:
        if self._timer:
            self._timer.close()
        self._due = deadline
        self._timer = self._hub.loop.timer(max(0.0, deadline - time.monotonic()))
        self._timer.start(self._end_those_late)

    def _end_those_late(self) -> None:
        """Runs in the hub, as Waiter.switch() has to."""
        self._due, now = math.inf, time.monotonic()
        for waiter, deadline in list(self._deadlines.items()):
            if deadline <= now:
                waiter.switch(False)
        earliest = min(self._deadlines.values(), default=math.inf)
        if earliest < self._due:
            self._wake_at(earliest)


class SocketWait:
    """Waits for one socket. Its watcher is kept, since a new one costs two calls of the system at each wait."""

    def __init__(self, waits: Waits, loop: Any, descriptor: int) -> None:
        self._until = waits.until
        self._loop = loop
        self._descriptor = descriptor
        self._readable = loop.io(descriptor, READABLE)

    def __call__(self, writing: bool, deadline: float) -> bool:
        """Wait until the socket can be read, or written. Return False if `deadline`, a time.monotonic(), is first."""
        if not writing:
            return self._until(self._readable, deadline)
        writable = self._loop.io(self._descriptor, WRITABLE)
        try:
            return self._until(writable, deadline)
        finally:
            writable.close()

    def close(self) -> None:
        """Let the watcher go, before the socket is closed."""
        self._readable.close()
