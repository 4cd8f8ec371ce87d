"""Bodies that come a byte at a time have the time of a request, and are then ended; other clients do not notice."""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tests.support import raw
from tests.support.load import Client

PATIENCE = 30.0
"""Seconds after the deadline. A pause alone as the limit would never end them."""


def test_each_is_ended(
    start_service: Any,
    sized: Callable[[tuple[int, float, int], tuple[int, float, int]], tuple[int, float, int]],
    figure: Callable[[str], None],
) -> None:
    count, pause, deadline = sized((50, 0.3, 2), (1000, 9.0, 30))
    service = start_service(REQUEST_DEADLINE=f"{deadline}", WEB_CONCURRENCY="2")
    took, slowest = [], 0.0
    with ExitStack() as stack:
        began: dict[socket.socket, float] = {}
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            selector.register(connection, selectors.EVENT_READ, connection)
            began[connection] = time.monotonic()
            connection.sendall(raw.request("POST", "/api/v1/tasks", {**raw.JSON, "Content-Length": "1000"}))
        give_up, next_byte = time.monotonic() + deadline + PATIENCE, 0.0
        while began and time.monotonic() < give_up:
            for key, _ in selector.select(0.05):
                connection = key.data
                assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
                took.append(time.monotonic() - began.pop(connection))
                selector.unregister(connection)
            if time.monotonic() > next_byte:
                next_byte = time.monotonic() + pause
                for connection in began:
                    connection.sendall(b"x")
            with Client(service.port) as client:
                health = client.request("GET", "/health")
            assert health.status == 200
            slowest = max(slowest, health.seconds)
        assert not began, f"{len(began)} of {count} are still there"
    # The clients' clock began to run first.
    assert min(took) >= deadline
    assert "Traceback" not in service.log
    figure(
        f"{count} bodies of a byte each {pause} s: all answered 400 after {min(took):.1f} to {max(took):.1f} s of"
        f" {deadline} allowed; slowest /health {slowest * 1000:.0f} ms"
    )
