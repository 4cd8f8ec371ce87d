"""A log line is never worth a request: nobody reads the log, or nobody is there to read it."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.envelope import data_of
from tests.support.full_pipe import fill
from tests.support.waiting import wait_until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe: to read, and to write."""
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):
            os.close(descriptor)


def drained(descriptor: int) -> bytes:
    """What is in the pipe, without waiting for more."""
    os.set_blocking(descriptor, False)
    text = b""
    with suppress(BlockingIOError):
        while piece := os.read(descriptor, 1 << 20):
            text += piece
    os.set_blocking(descriptor, True)
    return text


def test_nobody_reads_the_log(start_service: Any, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    service = start_service(output=writing, WEB_CONCURRENCY="1")
    fill(writing)
    # Connections that are kept would hold the reload up.
    with service.client(base_url=f"{service.url}/api/v1", headers={"Connection": "close"}) as client:
        for number in range(20):
            data_of(client.post("/tasks", json={"title": f"Unread {number}"}), 201, "TASK_CREATED")
        assert b"POST /api" not in drained(reading)

        data_of(client.get("/tasks"))
        logged = bytearray()

        def tells_of_the_read() -> bool:
            logged.extend(drained(reading))
            return b"GET /api" in logged

        wait_until(tells_of_the_read, "the log goes on")
        assert b"20 log lines could not be written" in logged

        # Now there is no reader at all: neither the worker nor the master may mind, nor a new worker.
        os.close(reading)
        os.close(writing)
        data_of(client.post("/tasks", json={"title": "Nobody there"}), 201, "TASK_CREATED")
        service.hup()
        data_of(client.post("/tasks", json={"title": "Nobody there"}), 201, "TASK_CREATED")
        assert len(data_of(client.get("/tasks"))) == 22
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
