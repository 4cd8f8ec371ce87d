"""Clients that send without end, faster than they are read, take nobody else's turn."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.hostile_floods import FLOODS, Flood
from tests.support.load import Client
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

CLIENTS = 10
"""More than there are workers: each of these has some."""

PATIENCE = 5.0
"""Seconds that nobody's /health may take. A worker that is held up answers after minutes, or never."""


@pytest.mark.parametrize(("first", "repeated"), FLOODS.values(), ids=FLOODS)
def test_others_are_served(
    service: Any,
    first: bytes,
    repeated: bytes,
    sized: Callable[[float, float], float],
    figure: Callable[[str], None],
) -> None:
    slowest, asked, seconds = 0.0, 0, sized(0.05, 5.0)
    with Flood(service.port, first, repeated, clients=CLIENTS) as flood:
        wait_until(lambda: all(flood.sent), "all of them send")
        end = time.monotonic() + seconds
        while asked < 3 or time.monotonic() < end:
            with Client(service.port, patience=PATIENCE) as client:
                health = client.request("GET", "/health")
            assert health.status == 200
            slowest = max(slowest, health.seconds)
            asked += 1
    assert slowest < PATIENCE
    assert "Traceback" not in service.log
    figure(
        f"{CLIENTS} for {seconds} s: {sum(flood.sent) / 1e6:.0f} MB, slowest of {asked} /health {slowest * 1000:.0f} ms"
    )
