"""Slow clients harm nobody: connections that send nothing, half a header, half a body, or never read their answer."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.load import Client
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

CONNECTIONS = 200

HEAD = b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

SENT = {
    "nothing": b"",
    "half a header": HEAD[:60],
    "half a body": HEAD + b'Content-Length: 30\r\n\r\n{"title": ',
    "half a chunk": HEAD + b'Transfer-Encoding: chunked\r\n\r\n1e\r\n{"title": ',
    "no reading": b"GET /api/docs/redoc.standalone.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10,
}

UNREAD = 50
"""Connections that read nothing. The system takes some 4 MB of each one's answers before the service has to wait."""


@contextmanager
def connections(port: int, sent: bytes, count: int) -> Iterator[list[socket.socket]]:
    """While inside, so many connections have sent just this, and read nothing."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            # So small that an answer which is not read stays with the service.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(sent)
            sockets.append(connection)
        yield sockets


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_others_are_served(
    sent: bytes,
    service: Any,
    sized: Callable[[float, float], float],
    figure: Callable[[str], None],
) -> None:
    seconds, count = sized(1.5, 30), UNREAD if sent.startswith(b"GET") else CONNECTIONS
    slowest, asked = 0.0, 0
    with connections(service.port, sent, count) as sockets:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with Client(service.port) as client:
                health, created = client.request("GET", "/health"), client.create("by somebody else")
            assert (health.status, created.status) == (200, 201)
            slowest = max(slowest, health.seconds)
            asked += 1
            time.sleep(0.02)
        assert slowest < 1
        if sent.startswith(b"GET"):
            assert service.log.count("/api/docs/redoc.standalone.js") < sent.count(b"GET") * count, "all was taken"
        if seconds > 20 and not sent.startswith(b"GET"):
            wait_until(lambda: all(_ended(end) for end in sockets), "the service has ended them all")
    figure(f"{count} connections for {seconds} s: slowest of {asked} /health {slowest * 1000:.0f} ms")


def _ended(connection: socket.socket) -> bool:
    """Whether the service has closed the connection, with or without an answer."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True
