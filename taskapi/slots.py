"""Caps the connections of all worker processes together, also while old and new workers overlap in a reload.

A slot is a file that its holder has locked. The kernel frees the lock with the process, however that ends.
"""

import fcntl
import os
import time
from pathlib import Path

POLL_INTERVAL = 0.02
"""Seconds between two looks for a free slot: only a reload makes anybody wait."""


class Slots:
    """`count` slots in a folder that the processes of one service share."""

    def __init__(self, folder: Path, count: int) -> None:
        self._paths = [folder / str(number) for number in range(count)]

    def take(self, timeout: float) -> int | None:
        """Take a slot within `timeout` seconds. Return the file descriptor that holds it, None when all stay taken."""
        deadline = time.monotonic() + timeout
        while True:
            for path in self._paths:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return descriptor
                except BlockingIOError:
                    os.close(descriptor)
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_INTERVAL)

    def free(self, slot: int) -> None:
        """Give the slot back."""
        os.close(slot)
