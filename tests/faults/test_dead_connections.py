"""Reads do not notice a dead connection, whether it died while nobody used it or under their hands."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support import backends
from tests.support.ledger import NOTHING, UNKNOWN
from tests.support.load import Answer, Client, at_once, crowd
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.waiting import wait_until

READERS, WRITERS = 20, 4


def test_idle_connections_that_end(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    rounds = sized(5, 100)
    service = start_service(WEB_CONCURRENCY="2")
    with Sql(service.database_url) as sql, Client(service.port) as client:
        task_id = client.create("read me").data["id"]
        writes: Counter[int] = Counter()
        ended = reads = 0

        def read(client: Client, number: int) -> Answer:
            return client.request("GET", (f"/tasks/{task_id}", "/tasks", "/history", "/stats/weekly")[number % 4])

        for number in range(rounds):
            reads += check_reads(at_once(service.port, READERS, read))
            ended += backends.end(sql)
            reads += check_reads([client.request("GET", f"/tasks/{task_id}")])
            backends.terminate(sql)
            writes[check_write(client.create(f"write {number}"))] += 1
        assert_replay_equals_tasks(sql)
    figure(f"{rounds} rounds, {ended} idle connections ended: 0 of {reads:,} reads failed, writes {dict(writes)}")


def test_busy_connections_that_end(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    rounds = sized(5, 100)
    service = start_service(WEB_CONCURRENCY="2")
    with Client(service.port) as client:
        task_id = client.create("read me").data["id"]
    reads = ended = 0
    writes: Counter[int] = Counter()

    def work(client: Client, number: int) -> None:
        nonlocal reads
        if number < WRITERS:
            writes[check_write(client.create(f"of client {number}"))] += 1
        else:
            reads += check_reads([client.request("GET", f"/tasks/{task_id}"), client.request("GET", "/history")])

    with Sql(service.database_url) as sql:
        with crowd(service.port, READERS + WRITERS, work):
            for _ in range(rounds):
                before = reads
                wait_until(lambda: reads > before + 2 * READERS, "reads go on")  # noqa: B023
                ended += backends.terminate(sql)
                time.sleep(0.1)
            while "running it once more, which is safe" not in service.log:
                ended += backends.terminate(sql)
                time.sleep(0.1)
        assert_replay_equals_tasks(sql)
    assert ended >= rounds
    figure(f"{rounds} rounds, {ended} busy connections ended: 0 of {reads:,} reads failed, writes {dict(writes)}")


def check_reads(answers: list[Answer]) -> int:
    assert {answer.status for answer in answers} == {200}, [answer for answer in answers if answer.status != 200]
    return len(answers)


def check_write(answer: Answer) -> int:
    """The write is done, or its refusal says whether it may be."""
    if answer.status == 503:
        assert int(answer.headers["Retry-After"]) >= 1
        assert (NOTHING in answer.envelope["error"]) != (UNKNOWN in answer.envelope["error"])
    else:
        assert answer.status == 201, answer
    return answer.status
