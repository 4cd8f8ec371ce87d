"""gunicorn's gevent worker, which no slow client holds up, and which hands its database connections on when it ends."""

import ctypes
import http
import math
import os
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import gevent
import gunicorn.http.wsgi
import gunicorn.util
import orjson
from gunicorn.http.body import LengthReader
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from taskapi.database.connection import wait_by
from taskapi.server.client_socket import PIECE, ClientSocket
from taskapi.server.logger import without_quotes
from taskapi.server.waits import Waits
from taskapi.settings import Settings

MAX_SKIPPED = 64 * 1024
"""Bytes of a body that are read for nothing, so that its connection can be used again."""

M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 1024 * 1024
"""mallopt(3)'s number for it, and bytes from which on a block of memory is the system's own."""


def give_memory_back() -> None:
    """Let large answers leave nothing behind: glibc would keep the room of freed blocks, up to 32 MiB each."""
    # Where there is no mallopt, it is not glibc.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def keep_settings_at_hand(config: Any) -> None:
    """Make gunicorn's settings plain attributes of its Config, which would search for each one that is asked for."""
    config.__dict__.update({name: setting.get() for name, setting in config.settings.items()})


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


class Clock:
    """The value of the Date header, made once a second."""

    _second = -1
    _date = ""

    def __call__(self) -> str:
        """The date of now."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, gunicorn.util.http_date(second)
        return self._date


http_date = Clock()

CONSTANTS = {
    ("Content-Type", "application/json"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
}
"""Headers of nearly every answer, which gunicorn need not check each time."""

EVENTS = ("Content-Type", "text/event-stream")


class Response(gunicorn.http.wsgi.Response):
    """Sends an answer's head together with the start of its body: one packet, and one wake-up of the client."""

    req: Any
    sock: Any

    worker_ends = False
    """Whether the worker is ending: a connection whose answer begins now ends with it."""

    headers_sent: bool
    _head = b""

    def write(self, arg: bytes) -> None:
        """Send a piece of the body, with the head before the first one."""
        if arg and not self.headers_sent and not self.chunked and not self._omits_body:
            lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True
        super().write(arg)

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the application's headers, and check those that are not constants."""
        for header in headers:
            if header in CONSTANTS:
                self.headers.append(header)
            elif header[0] == "Content-Length" and header[1].isdecimal():
                self.response_length = int(header[1])
                self.headers.append(header)
            else:
                if header == EVENTS:
                    # It lasts as long as its client stays, who then comes back to a worker that goes on.
                    self.sock.answer_time = math.inf
                    self.force_close()
                super().process_headers([header])

    def default_headers(self) -> list[str]:
        """The lines of the head that are gunicorn's own."""
        if Response.worker_ends:
            self.force_close()
        version = "HTTP/{}.{}".format(*self.req.version)
        connection = "close" if self.should_close() else "keep-alive"
        coding = ["Transfer-Encoding: chunked\r\n"] if self.chunked else []
        return [
            f"{version} {self.status}\r\nServer: {self.version}\r\nDate: {http_date()}\r\nConnection: {connection}\r\n",
            *coding,
        ]

    def _emit_body(self, data: bytes) -> None:
        head, self._head = self._head, b""
        super()._emit_body(head + data)

    def should_close(self) -> bool:
        """Whether the connection ends with this answer: also where too much of the request's body is left unread."""
        body = self.req.body
        if isinstance(body.reader, LengthReader):
            is_left = body.reader.length > MAX_SKIPPED
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


NO_TIMER = nullcontext()


class Name:
    """The address of a listener, which gunicorn asks for at each connection: also at the last one, when the listener is
    closed."""

    def __init__(self, listener: Any) -> None:
        self._address = listener.getsockname()

    def getsockname(self) -> Any:
        """The address."""
        return self._address


class Worker(GeventWorker):
    """One process of the service: a greenlet for each connection."""

    wsgi: Any = None
    request_deadline: float
    waits: Waits
    names: dict[Any, "Name"]

    def run(self) -> None:
        """Serve until the end."""
        self.names = {listener: Name(listener) for listener in self.sockets}
        super().run()

    def load_wsgi(self) -> None:
        """Load the application, now that gevent has patched what it is made of."""
        self.waits = Waits()
        wait_by(self.waits)
        super().load_wsgi()
        give_memory_back()
        self.request_deadline = Settings.from_environment().request_deadline
        gunicorn.util.write_error = write_error
        gunicorn.http.wsgi.Response = Response
        keep_settings_at_hand(self.cfg)
        constants = {**gunicorn.http.wsgi.base_environ(self.cfg), "wsgi.file_wrapper": FileWrapper}
        gunicorn.http.wsgi.base_environ = lambda _: constants.copy()
        # The application sees to it; gunicorn would answer 500 to a path outside it.
        os.environ.pop("SCRIPT_NAME", None)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection. The gevent worker's own method would let the socket wait by itself."""
        limits = {"head_time": self.cfg.keepalive or math.inf, "request_time": self.request_deadline}
        # One for all requests of the connection: Flask would make one for each.
        with self.wsgi.app_context():
            AsyncWorker.handle(self, self.names[listener], ClientSocket(client, self.waits, **limits), addr)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """What limits the time for a request's head: the ClientSocket does, and needs no timer for it."""
        return NO_TIMER

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Serve one request, whose head has been read. Raises StopIteration when its connection ends with it."""
        sock.begin_request()
        super().handle_request(listener_name, req, sock, addr)
        sock.end_request()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """On TERM: finish what has begun, and free the database connections for the worker that follows."""
        super().handle_exit(sig, frame)
        Response.worker_ends = True
        # TERM may come while the application is still loading: then there is nothing to free.
        if self.wsgi is not None:
            gevent.spawn(self._drain)

    def _drain(self) -> None:
        self.wsgi.extensions["taskapi.followers"].end()
        self.wsgi.extensions["taskapi.database"].drain()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """On INT or QUIT: end at once. Clients see their connections end; what Postgres has begun it may still do."""
        os._exit(0)
