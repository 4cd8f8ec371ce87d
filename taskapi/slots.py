"""Caps the connections of all worker processes together, also while old and new workers overlap in a reload.

A slot is a byte of a file that its holder has locked. The kernel frees the lock with the process, however that ends.
"""

import fcntl
import os
import tempfile
import time

POLL_INTERVAL = 0.02
"""Seconds between two looks for a free slot: only a reload makes anybody wait."""


class Slots:
    """`count` slots in a file that the processes of one service share. One object for each process.

    The workers inherit the open file from gunicorn's master: so it needs no name that somebody could remove.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        """`descriptor` is the file's, open for writing. It stays open: closing it, anywhere in the process, would free
        every slot (POSIX, fcntl).
        """
        self._descriptor = descriptor
        self._free = list(range(count))

    def take(self, timeout: float) -> int | None:
        """Take a slot within `timeout` seconds. Return its number, None when all stay taken."""
        deadline = time.monotonic() + timeout
        while True:
            # A process does not meet its own locks, so that it has to know them.
            for slot in self._free:
                try:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
                except BlockingIOError:
                    continue
                self._free.remove(slot)
                return slot
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_INTERVAL)

    def free(self, slot: int) -> None:
        """Give the slot back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, slot)
        self._free.append(slot)


def new_file() -> int:
    """The descriptor of a file for slots, which has no name, needs no disk and is inherited by forks."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("taskapi-slots")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
