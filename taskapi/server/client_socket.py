"""A client's connection as a worker uses it: limited in time and bytes, and never in the way of other clients."""

import errno
import math
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

import gevent

from taskapi.server.waits import Waits

PAUSE = 20.0
"""Seconds without a byte of a body, or for PIECE of an answer, after which a connection is closed."""

PIECE = 64 * 1024
"""Bytes of an answer that a client must take within PAUSE."""

ANSWER_TIMES = 20
"""A client has so many times `request_time` to take a whole answer."""

LINGER_PAUSE, LINGER_TIME, LINGER_BYTES = 2.0, 20.0, 16 * 1024 * 1024
"""After the last answer, the client is read until it pauses this long, at most for this time and this much."""


class ClientSocket:
    """What gunicorn needs of a socket, around one of gevent's.

    `answer_time` is how many seconds a client has to take an answer: math.inf where the answer is a stream.
    """

    def __init__(self, wrapped: Any, waits: Waits, *, head_time: float, request_time: float) -> None:
        """`head_time`: seconds in which a request's head must have arrived, from the end of the one before it.
        `request_time`: seconds in which a request must have arrived, from its first byte to its body's last.
        """
        self.answer_time = ANSWER_TIMES * request_time
        self._head_time = head_time
        self._request_time = request_time
        self._pause = min(PAUSE, request_time)
        self._socket = wrapped
        # It never waits by itself.
        self._socket.settimeout(0.0)
        self._wait = waits(wrapped.fileno())
        # Bytes that TLS has read already, for which the system would let us wait in vain.
        self._pending = getattr(wrapped, "pending", None)
        self._loop = gevent.get_hub().loop
        self._turn = -1
        self._head_ends = time.monotonic() + head_time
        self._request_ends = self._answer_ends = math.inf
        self._client_reads = True

    def begin_request(self) -> None:
        """The head of a request has been read. Others go first if this is not the first request of this turn."""
        if self._loop.iteration == self._turn:
            self._let_others_run()
        self._turn = self._loop.iteration
        self._head_ends = math.inf
        if self._request_ends == math.inf:
            self._request_ends = time.monotonic() + self._request_time

    def end_request(self) -> None:
        """The request is answered: the next one has its own time, and so has its answer."""
        self._request_ends = self._answer_ends = math.inf
        self._head_ends = time.monotonic() + self._head_time

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; none when the client has ended. Raises TimeoutError when they come too late.

        Others run meanwhile, also where the bytes are there: a client that sends faster than we read would keep the
        worker to itself.
        """
        # Until a request begins, the client may pause for longer.
        pause = PAUSE if self._request_ends == math.inf else self._pause
        try:
            data = self._recv(size, _deadline(pause, min(self._head_ends, self._request_ends)))
        except TimeoutError:
            raise _too_slow() from None
        except OSError:
            self._client_reads = False
            raise
        if not data:
            # No more can come, so that nothing would be left unread.
            self._client_reads = False
        elif self._request_ends == math.inf:
            self._request_ends = time.monotonic() + self._request_time
        return data

    def send(self, data: bytes) -> int:
        """Like sendall(). Returns the number of bytes: all of them."""
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`. Raises TimeoutError when the client takes it too slowly."""
        if self._answer_ends == math.inf:
            self._answer_ends = time.monotonic() + self.answer_time
        view = memoryview(data)
        try:
            for start in range(0, len(view), PIECE):
                self._send(view[start : start + PIECE], _deadline(self._pause, self._answer_ends))
        except OSError as error:
            self._client_reads = False
            if isinstance(error, TimeoutError):
                raise _too_slow() from None
            raise

    def shutdown(self, how: int) -> None:
        """End both directions: the answer could not be finished, and the client must notice."""
        self._client_reads = False
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close in such a way that the client can read its last answer (RFC 9112, section 9.6).

        If bytes of the client were left unread, the system would reset the connection, and the client lose the answer.
        """
        try:
            if self._client_reads:
                self._linger()
        except OSError:
            # It is gone, or has sent nothing for a while.
            pass
        finally:
            self._wait.close()
            self._socket.close()

    def _linger(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)
        end, left = time.monotonic() + LINGER_TIME, LINGER_BYTES
        while left > 0:
            data = self._recv(PIECE, min(time.monotonic() + LINGER_PAUSE, end))
            if not data:
                break
            left -= len(data)

    def _recv(self, size: int, deadline: float) -> bytes:
        while True:
            is_there = self._pending and self._pending()
            if not is_there and not self._wait(False, deadline):
                raise TimeoutError
            # One may wake up for nothing, and with TLS for a part of what can be read only as a whole.
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                return self._socket.recv(size)  # type: ignore[no-any-return]

    def _send(self, piece: memoryview, deadline: float) -> None:
        while True:
            with suppress(BlockingIOError):
                piece = piece[self._socket.send(piece) :]
            if not piece:
                return
            if not self._wait(True, deadline):
                raise TimeoutError

    def _let_others_run(self) -> None:
        """Let the event loop go round once. gevent.sleep(0) may return before the loop looks at any socket."""
        gevent.idle(self._loop.MAXPRI)


def _deadline(pause: float, end: float) -> float:
    """In `pause` seconds, but at `end`, a time.monotonic(), at the latest. Raises TimeoutError when that has come."""
    now = time.monotonic()
    if end <= now:
        raise TimeoutError
    return min(now + pause, end)


def _too_slow() -> TimeoutError:
    # By this number gunicorn takes it for a client that has left, and writes no traceback to the log.
    return TimeoutError(errno.ECONNRESET, "the client is too slow")
