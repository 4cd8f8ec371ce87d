"""Waiting for something to become true, without guessing how long it takes."""

import time
from collections.abc import Callable

START = 120.0
"""Seconds for a server to start. Nothing is promised about that, and a busy machine takes its time."""


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 30.0) -> None:
    """Return as soon as `condition()` holds; fail, saying `what` did not happen, when it still does not in the end."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.01)
