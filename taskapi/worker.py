"""gunicorn's gevent worker, which no slow client holds up, and which hands its database connections on when it ends."""

import http
import os
from typing import Any

import gevent
import gevent.socket
import gunicorn.http.wsgi
import gunicorn.util
import orjson
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

import taskapi.connection
from taskapi.logs import without_quotes

CLIENT_TIMEOUT = 20.0
"""Seconds without a byte from or to a client, in a body or an answer, after which its connection is closed."""


def wait_for_socket(descriptor: int, writing: bool, timeout: float | None) -> bool:
    """taskapi.connection.poll_socket in gevent's way, which costs less than gevent's select.poll."""
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
    gunicorn.util.write_nonblock(client, head.encode("latin-1") + body)


class Response(gunicorn.http.wsgi.Response):
    """Sends an answer's head together with the start of its body: one packet, and one wake-up of the client."""

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


class Worker(GeventWorker):
    """One process of the service: a greenlet for each connection."""

    wsgi: Any = None

    def load_wsgi(self) -> None:
        """Load the application, now that gevent has patched what it is made of."""
        super().load_wsgi()
        gunicorn.util.write_error = write_error
        gunicorn.http.wsgi.Response = Response
        taskapi.connection.wait_for_socket = wait_for_socket
        # The application sees to it; gunicorn would answer 500 to a path outside it.
        os.environ.pop("SCRIPT_NAME", None)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection. The gevent worker's own method would take the timeout away again."""
        client.settimeout(CLIENT_TIMEOUT)
        AsyncWorker.handle(self, listener, client, addr)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """On TERM: finish what has begun, and free the database connections for the worker that follows."""
        super().handle_exit(sig, frame)
        # TERM may come while the application is still loading: then there is nothing to free.
        if self.wsgi is not None:
            gevent.spawn(self.wsgi.extensions["taskapi.database"].drain)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """On INT or QUIT: end at once. Postgres rolls back what has begun, and clients see their connections end."""
        os._exit(0)
