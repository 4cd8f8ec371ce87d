"""Signals that end a process, for programs that have something to put in order before they do."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def end_in_order() -> None:
    """Make each of them end the process as sys.exit() does, which runs what is registered with atexit."""

    def end(number: int, frame: object) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(0)

    for each in ENDING:
        signal.signal(each, end)


@contextmanager
def held_back() -> Iterator[None]:
    """Let what is inside come to its end first: a signal that arrives meanwhile counts when it is done."""
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])
