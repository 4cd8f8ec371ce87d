"""Caps the connections of all workers together, even while old and new workers overlap in a reload.

A slot is a byte of a file that its holder has locked. The kernel frees the lock when the process ends, however it ends.
"""

import fcntl
import os
import struct
import tempfile
import time

POLL_INTERVAL = 0.02
"""Seconds before it looks for a free slot again. Only during a reload does anybody wait."""


CALL = struct.Struct("d")
"""A call in the file: its time as a time.monotonic(), which all processes of a machine share."""

HEARD = 1.0
"""Seconds for which a call counts."""


MOST = 10_000
"""Slots that one server may have: the bytes of the next one begin there, whatever DB_CONNECTIONS is before a reload or
after it."""


class Slots:
    """`count` slots for each server, in a file that the processes of one service share. One object for each process.

    The workers inherit the open file from gunicorn's master. It has no name, so nothing can remove it.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        """`descriptor`: the file, open for writing. Never close it: closing it anywhere in the process would free every
        slot (POSIX, fcntl).
        """
        self._descriptor = descriptor
        self._count = count
        self._free: dict[int, list[int]] = {}
        self._called = 0.0

    def take(self, timeout: float, server: int = 0) -> int | None:
        """Take a slot of a server within `timeout` seconds. Return its number, or None if all stay taken.

        `server`: a number that is the same in all processes. No byte needs to be there to be locked.
        """
        deadline = time.monotonic() + timeout
        first = server * MOST
        free = self._free.setdefault(server, list(range(first, first + self._count)))
        while True:
            # A process is not blocked by its own locks, so it must know them.
            for slot in free:
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
                except BlockingIOError:
                    continue
                free.remove(slot)
                return slot
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_INTERVAL)

    def free(self, slot: int) -> None:
        """Give the slot back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, slot)
        self._free[slot // MOST].append(slot)

    def call(self) -> None:
        """Ask the other processes for a connection: this one has none, and the server allows no more."""
        self._called = time.monotonic()
        os.pwrite(self._descriptor, CALL.pack(self._called), 0)

    def is_called(self) -> bool:
        """Whether another process, and not this one, has just asked for a connection."""
        since = time.monotonic() - HEARD
        call = os.pread(self._descriptor, CALL.size, 0)
        return self._called < since and len(call) == CALL.size and CALL.unpack(call)[0] > since


def new_file() -> int:
    """The descriptor of a new file for slots. It has no name, needs no disk, and forks inherit it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("taskapi-slots")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
