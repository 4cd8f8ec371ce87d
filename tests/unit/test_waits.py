"""Waits for sockets with one timer for all: they end when they should, and nothing of one reaches the next."""

import math
import random
import socket
import time
from collections.abc import Iterator

import gevent
import pytest

from taskapi.server.waits import SocketWait, Waits


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def ends(waits: Waits) -> Iterator[tuple[SocketWait, socket.socket, socket.socket]]:
    """What waits for our end of a connection, our end, and the other one."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    wait = waits(ours.fileno())
    yield wait, ours, theirs
    wait.close()
    ours.close()
    theirs.close()


def late(seconds: float) -> float:
    return time.monotonic() + seconds


def test_what_is_there_ends_a_wait(ends: tuple[SocketWait, socket.socket, socket.socket]) -> None:
    wait, ours, theirs = ends
    gevent.spawn_later(0.05, theirs.send, b"x")
    assert wait(False, late(30)) is True
    assert ours.recv(10) == b"x"
    assert wait(True, math.inf) is True


def test_a_deadline_ends_a_wait_and_not_before(ends: tuple[SocketWait, socket.socket, socket.socket]) -> None:
    wait, ours, _ = ends
    while True:
        try:
            ours.send(b"x" * 100_000)
        except BlockingIOError:
            break
    for writing in (False, True):
        deadline = late(0.1)
        assert wait(writing, deadline) is False
        assert 0 <= time.monotonic() - deadline < 5
    assert wait(False, late(-1)) is False


def test_each_of_many_has_its_own(waits: Waits) -> None:
    """The earliest deadline is neither the first that was set nor the last."""
    pairs = [socket.socketpair() for _ in range(30)]
    seconds = [0.05 * ((7 * number) % 30 + 1) for number in range(30)]

    def wait(number: int) -> float:
        ended = waits(pairs[number][0].fileno())(False, deadline := late(seconds[number]))
        assert ended is False
        return time.monotonic() - deadline

    waiting = [gevent.spawn(wait, number) for number in range(30)]
    assert all(0 <= greenlet.get(timeout=30) < 1 for greenlet in waiting)
    for pair in pairs:
        for end in pair:
            end.close()


def test_nothing_of_a_wait_reaches_what_comes_after(
    waits: Waits, ends: tuple[SocketWait, socket.socket, socket.socket]
) -> None:
    """Bytes come when the time is over, so that both want to end the wait."""
    wait, ours, theirs = ends
    chance = random.Random(1)
    outcomes = set()
    for _ in range(300):
        moment = chance.uniform(0, 0.002)
        sending = gevent.spawn_later(moment, theirs.send, b"x")
        outcomes.add(wait(False, late(moment)))
        before = time.monotonic()
        gevent.sleep(0.003)
        assert time.monotonic() - before >= 0.0029, "another wait of this greenlet was left alone"
        sending.join()
        assert ours.recv(10) == b"x"
    assert outcomes == {True, False}
    assert not waits._deadlines


def test_a_greenlet_that_is_killed_leaves_nothing(
    waits: Waits, ends: tuple[SocketWait, socket.socket, socket.socket]
) -> None:
    wait, _, theirs = ends
    waiting = gevent.spawn(wait, False, late(30))
    gevent.idle()
    waiting.kill()
    assert not waits._deadlines
    theirs.send(b"x")
    assert wait(False, late(30)) is True


def test_a_wait_that_ends_in_time_starts_no_timer(
    waits: Waits, ends: tuple[SocketWait, socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, ours, theirs = ends
    theirs.send(b"x")
    assert wait(False, late(20))
    monkeypatch.setattr(waits, "_wake_at", lambda _: pytest.fail("a timer was started"))
    for _ in range(100):
        assert wait(False, late(20))
    assert ours.recv(10) == b"x"
