"""gunicorn's gevent worker, which no slow client holds up, and which hands its database connections on when it ends."""

import ctypes
import http
import os
from contextlib import suppress
from typing import Any

import gevent
import gevent.socket
import gunicorn.http.wsgi
import gunicorn.util
import orjson
from gunicorn.http.body import LengthReader
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

import taskapi.database.connection
from taskapi.server.client_socket import PIECE, ClientSocket
from taskapi.server.logger import without_quotes
from taskapi.settings import Settings

MOST_SKIPPED = 64 * 1024
"""Bytes of a body that are read for nothing, so that its connection can be used again."""

M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 1024 * 1024
"""mallopt(3)'s number for it, and bytes from which on a block of memory is the system's own."""


def give_memory_back() -> None:
    """Let large answers leave nothing behind: glibc would keep the room of freed blocks, up to 32 MiB each."""
    # Where there is no mallopt, it is not glibc.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def wait_for_socket(descriptor: int, writing: bool, timeout: float | None) -> bool:
    """taskapi.database.connection.poll_socket in gevent's way, which costs less than gevent's select.poll."""
    wait = gevent.socket.wait_write if writing else gevent.socket.wait_read
    try:
        wait(descriptor, timeout)
    except TimeoutError:
        return False
    return True


def write_error(client: Any, status: int, reason: str, message: str) -> None:
    """gunicorn.util.write_error in the envelope: what gunicorn answers to a request that is not HTTP, or is too large.

    The application never sees such a request.
    """
    if status == http.HTTPStatus.NOT_IMPLEMENTED:
        # For a transfer coding that nobody knows. It is the client's mistake, not a failure of ours.
        status, reason = 400, "Bad Request"
    sentence = f"{reason}. {without_quotes(message)}".strip()
    body = orjson.dumps({"success": False, "data": None, "popup": None, "error": sentence})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode("latin-1") + body)


class Response(gunicorn.http.wsgi.Response):
    """Sends an answer's head together with the start of its body: one packet, and one wake-up of the client."""

    req: Any

    headers_sent: bool
    _head = b""

    def write(self, arg: bytes) -> None:
        """Send a piece of the body, with the head before the first one."""
        if arg and not self.headers_sent and not self.chunked and not self._omits_body:
            lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True
        super().write(arg)

    def _emit_body(self, data: bytes) -> None:
        head, self._head = self._head, b""
        super()._emit_body(head + data)

    def should_close(self) -> bool:
        """Whether the connection ends with this answer: also where too much of the request's body is left unread."""
        body = self.req.body
        if isinstance(body.reader, LengthReader):
            is_left = body.reader.length > MOST_SKIPPED
        else:
            is_left = body.reader.parser is not None
        return bool(is_left or body.failed or super().should_close())

    def can_sendfile(self) -> bool:
        """No: a file is limited like any other answer. (gevent would read it and send it in pieces, too.)"""
        return False


class FileWrapper(gunicorn.http.wsgi.FileWrapper):
    """Reads a file in the pieces in which it is sent: Werkzeug's, of 8 KiB, take two thirds more of the processor."""

    def __init__(self, filelike: Any, blksize: int = PIECE) -> None:
        super().__init__(filelike, PIECE)


class Worker(GeventWorker):
    """One process of the service: a greenlet for each connection."""

    wsgi: Any = None
    request_deadline: float

    def load_wsgi(self) -> None:
        """Load the application, now that gevent has patched what it is made of."""
        super().load_wsgi()
        give_memory_back()
        self.request_deadline = Settings.from_environment().request_deadline
        gunicorn.util.write_error = write_error
        gunicorn.http.wsgi.Response = Response
        gunicorn.http.wsgi.FileWrapper = FileWrapper
        taskapi.database.connection.wait_for_socket = wait_for_socket
        # The application sees to it; gunicorn would answer 500 to a path outside it.
        os.environ.pop("SCRIPT_NAME", None)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection. The gevent worker's own method would only take the socket's timeout away."""
        AsyncWorker.handle(self, listener, ClientSocket(client, self.request_deadline), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Serve one request, whose head has been read. Raises StopIteration when its connection ends with it."""
        sock.begin_request()
        super().handle_request(listener_name, req, sock, addr)
        sock.end_request()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """On TERM: finish what has begun, and free the database connections for the worker that follows."""
        super().handle_exit(sig, frame)
        # TERM may come while the application is still loading: then there is nothing to free.
        if self.wsgi is not None:
            gevent.spawn(self.wsgi.extensions["taskapi.database"].drain)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """On INT or QUIT: end at once. Clients see their connections end; what Postgres has begun it may still do."""
        os._exit(0)
