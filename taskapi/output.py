"""A text stream on stdout or stderr that never waits and never fails: it drops and counts lines it cannot write."""

import io
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from fcntl import fcntl
from functools import partial
from select import PIPE_BUF, POLLOUT, poll  # imported by name: gevent patches the modules
from socket import MSG_DONTWAIT, socket

ROOM = 1024 * 1024
"""The size to request for a pipe, in bytes, so that a reader may pause. It is Linux' maximum for normal users."""

AGAIN = "/proc/self/fd/{}"
"""The path that opens a descriptor's file again (Linux)."""

LOOK_INTERVAL = 1.0
"""Seconds before it checks again where the descriptor leads: a check costs more than a line."""

SET_PIPE_SIZE = 1031
"""Linux' F_SETPIPE_SZ."""


class Output(io.TextIOBase):
    """Text for a file descriptor. No request may wait for the log, so write() never waits for a reader.

    Other programs share the descriptor, and their writes must not change. So it is opened a second time without
    blocking, if possible. If a pipe or a terminal cannot be opened again, write() first checks whether it has room. In
    this case only, another process may fill it in between.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        """`notice(count)` is the line that reports lost lines once writing works again."""
        self.notice = notice
        self._descriptor = descriptor
        self._target: tuple[int, int] | None = None
        self._look_again = 0.0
        self._own: int | socket | None = None
        self._send: Callable[[bytes], int]
        self._lost = 0  # lines
        self._rest = b""  # of a partly written line
        self._behind = 0  # the process that lost them: a fork does not report them again

    def write(self, text: str) -> int:
        """Write the text, or drop it. Never raises."""
        data = text.encode("utf-8", "backslashreplace")
        if self._behind:
            data = self._owed() + data
        try:
            if time.monotonic() >= self._look_again:
                self._look()
            sent = self._send(data)
        except OSError:
            self._lost += text.count("\n")
            self._behind = os.getpid()
        else:
            if sent < len(data) or self._behind:
                self._lost, self._rest = 0, data[sent:]
                self._behind = os.getpid() if self._rest else 0
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor passed to the constructor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def _owed(self) -> bytes:
        if self._behind != os.getpid():
            self._lost, self._rest = 0, b""
        return self._rest + (self.notice(self._lost).encode() if self._lost else b"")

    def _look(self) -> None:
        # The descriptor may lead to another file by now: in a daemon, or after a log rotation.
        found = os.fstat(self._descriptor)
        if (found.st_dev, found.st_ino) != self._target:
            self._open(found)
        self._look_again = time.monotonic() + LOOK_INTERVAL

    def _open(self, found: os.stat_result) -> None:
        self._close_own()
        descriptor = self._descriptor
        if stat.S_ISREG(found.st_mode):
            # A file's write position would not be shared with a second opening, and a file never waits for a reader.
            self._send = partial(os.write, descriptor)
        elif stat.S_ISSOCK(found.st_mode):
            own = self._own = socket(fileno=os.dup(descriptor))
            self._send = lambda data: own.send(data, MSG_DONTWAIT)
        else:
            self._send = self._send_if_there_is_room
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                second = self._own = os.open(AGAIN.format(descriptor), flags)
                self._send = partial(os.write, second)
        if stat.S_ISFIFO(found.st_mode):
            with suppress(OSError):
                fcntl(descriptor, SET_PIPE_SIZE, ROOM)
        self._target = (found.st_dev, found.st_ino)

    def _send_if_there_is_room(self, data: bytes) -> int:
        room = poll()
        room.register(self._descriptor, POLLOUT)
        if not room.poll(0):
            raise BlockingIOError
        # A writable pipe has room for at least this much (POSIX, PIPE_BUF).
        return os.write(self._descriptor, data[:PIPE_BUF])

    def _close_own(self) -> None:
        own, self._own = self._own, None
        if isinstance(own, socket):
            own.close()
        elif own is not None:
            os.close(own)

    def __del__(self) -> None:
        # A reload loads this module again; open files must not pile up.
        self._close_own()
