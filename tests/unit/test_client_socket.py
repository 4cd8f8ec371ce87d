"""The limits of a client's connection, on real sockets."""

import math
import socket
import time
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest

from taskapi.server.client_socket import ClientSocket
from taskapi.server.waits import Waits

SLOW = b"x" * 20_000_000


@pytest.fixture
def ends() -> Iterator[tuple[ClientSocket, gevent.socket.socket]]:
    """The service's end of a connection, with a request_time of 0.5 s, and the client's."""
    ours, theirs = gevent.socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    yield ClientSocket(ours, Waits(), head_time=20.0, request_time=0.5), theirs
    ours.close()
    theirs.close()


def drip(client: gevent.socket.socket, *, seconds: float) -> None:
    """Send a byte each 20 ms."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.send(b"x")
        gevent.sleep(0.02)


def read_all(ours: ClientSocket) -> None:
    while ours.recv(100):
        pass


def read_slowly(client: gevent.socket.socket, *, pause: float) -> int:
    """Read until the end, 200 kB at a time; return how much it was."""
    count = 0
    while data := client.recv(200_000):
        count += len(data)
        gevent.sleep(pause)
    return count


def test_a_request_that_drips_has_a_limit_as_a_whole(ends: tuple[ClientSocket, gevent.socket.socket]) -> None:
    ours, theirs = ends
    dripping = gevent.spawn(drip, theirs, seconds=20)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        read_all(ours)
    assert time.monotonic() - started < 10
    dripping.kill()


def test_the_next_request_has_its_own_time(ends: tuple[ClientSocket, gevent.socket.socket]) -> None:
    ours, theirs = ends
    for _ in range(3):
        gevent.sleep(0.3)
        theirs.send(b"x")
        assert ours.recv(100) == b"x"
        ours.begin_request()
        ours.end_request()


def test_a_steady_reader_gets_all_of_a_large_answer(ends: tuple[ClientSocket, gevent.socket.socket]) -> None:
    ours, theirs = ends
    reading = gevent.spawn(read_slowly, theirs, pause=0.01)
    started = time.monotonic()
    ours.sendall(SLOW)
    assert time.monotonic() - started > 0.5, "longer than a pause may be"
    ours.close()
    assert reading.get() == len(SLOW)


def test_an_answer_has_a_limit_as_a_whole_unless_it_is_a_stream(
    ends: tuple[ClientSocket, gevent.socket.socket],
) -> None:
    ours, theirs = ends
    reading = gevent.spawn(read_slowly, theirs, pause=0.01)
    ours.answer_time = math.inf
    ours.sendall(SLOW[:5_000_000])
    ours.end_request()
    ours.answer_time = 0.1
    with pytest.raises(TimeoutError):
        ours.sendall(SLOW)
    ours.close()
    assert reading.get() < len(SLOW)


def test_a_reader_that_stops_is_left(ends: tuple[ClientSocket, gevent.socket.socket]) -> None:
    ours, _ = ends
    with pytest.raises(TimeoutError):
        ours.sendall(SLOW)
