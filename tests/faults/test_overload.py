"""Overload is refused politely: on a database made slow, everybody is served or told when to come back."""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.load import Answer, Client, crowd
from tests.support.proxy import before_database
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

CLIENTS = 200

SLOWNESS = 1.0
"""Seconds by which the database answers later: twenty connections then serve twenty requests a second."""


def test_two_hundred_clients_on_a_slow_database(
    start_service: Any,
    new_database: Callable[[], str],
    sized: Callable[[Any, Any], Any],
    figure: Callable[[str], None],
) -> None:
    seconds, limits = sized((3, {"DB_POOL_TIMEOUT": "1.5"}), (60, {}))
    direct = new_database()
    proxy, url = before_database(direct)
    with proxy:
        service = start_service(direct, DATABASE_URL=url, WEB_CONCURRENCY="2", **limits)
        answers: list[Answer] = []
        health: list[Answer] = []

        def work(client: Client, number: int) -> None:
            method = "GET" if number % 2 else "POST"
            answer = client.request(
                method, "/tasks?" if number % 2 else "/tasks", None if number % 2 else {"title": "x"}
            )
            answers.append(answer)
            if answer.status == 503:
                # A polite client comes back when it was told to; these come back sooner.
                time.sleep(0.2)

        with Client(service.port) as probe, crowd(service.port, CLIENTS, work):
            wait_until(lambda: len(answers) > CLIENTS, "all clients are there")
            proxy.delay = SLOWNESS
            answers.clear()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                health.append(probe.request("GET", "/health"))
                time.sleep(0.01)
            proxy.delay = 0.0

    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 201, 503}, statuses
    assert statuses[503] > 0, "the database was not slow enough"
    assert statuses[200] + statuses[201] > 0
    for answer in answers:
        assert answer.status != 503 or int(answer.headers["Retry-After"]) >= 1
        assert answer.envelope["success"] == (answer.status != 503)
    assert {answer.status for answer in health} == {200}
    slowest = statistics.quantiles((answer.seconds for answer in health), n=100)[98]
    assert slowest < sized(1.0, 0.2), f"/health takes {slowest:.3f} s at the 99th percentile"
    with Sql(direct) as sql:
        assert_replay_equals_tasks(sql)
    assert "database connections of this worker are busy" in service.log
    figure(
        f"{CLIENTS} clients, {seconds} s: {statuses[200] + statuses[201]} served, {statuses[503]} refused, 0 others;"
        f" /health {slowest * 1000:.0f} ms at the 99th percentile of {len(health)}"
    )
