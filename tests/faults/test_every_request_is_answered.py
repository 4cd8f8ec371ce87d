"""Every request is answered in time, whatever stands still; and as soon as it moves again, so does the service."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import backends
from tests.support.backends import DurableServer
from tests.support.folders import short_folder
from tests.support.load import Answer, Client, crowd
from tests.support.proxy import Proxy, before_database
from tests.support.replay import assert_replay_equals_tasks
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

CLIENTS = 50

AFTER = 5.0
"""Seconds after the release in which everything must be as it was."""

QUICK = {"REQUEST_DEADLINE": "5", "DB_STATEMENT_TIMEOUT": "1", "DB_POOL_TIMEOUT": "1", "DB_LOCK_TIMEOUT": "0.5"}
"""Limits for the short run, in the order of the defaults, which the long run is for."""


@dataclass
class Place:
    """Where the faults are to happen: clients, a service, a proxy, a server, and a direct connection to that."""

    server: DurableServer
    sql: Sql
    proxy: Proxy
    service: Service
    task_id: str


@pytest.fixture(scope="module")
def place(sized: Callable[[Any, Any], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with short_folder() as folder:
        server = DurableServer(folder / "pg")
        server.start()
        proxy, url = before_database(server.embedded.url)
        with proxy:
            service = Service({"DATABASE_URL": url, **sized(QUICK, {})}, folder=tmp_path_factory.mktemp("service"))
            with Sql(server.embedded.url) as sql, Client(service.port) as client:
                task_id = client.create("the one that all want").data["id"]
                yield Place(server, sql, proxy, service, task_id)
            service.kill()
        server.stop()


@contextmanager
def stopped_backends(place: Place) -> Iterator[None]:
    with backends.stopped(place.sql) as standing:
        assert standing
        yield


@contextmanager
def stopped_server(place: Place) -> Iterator[None]:
    """The postmaster, too: nobody is there to take a new connection."""
    standing = backends.processes(place.server.embedded.data)
    for pid in standing:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in standing:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def locked_row(place: Place) -> Iterator[None]:
    with place.sql.transaction():
        place.sql.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (place.task_id,))
        yield


@contextmanager
def locked_tables(place: Place) -> Iterator[None]:
    """As a migration does that rewrites them."""
    with place.sql.transaction():
        place.sql.execute("LOCK TABLE tasks, task_history IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def swallowing_network(place: Place) -> Iterator[None]:
    place.proxy.swallowing = True
    yield
    place.proxy.release()


FAULTS = [stopped_backends, stopped_server, locked_row, locked_tables, swallowing_network]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_request_is_answered(
    fault: Callable[[Place], Any],
    place: Place,
    sized: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    seconds, deadline = sized(3, 60), sized(5, 30)
    answers: list[tuple[float, Answer]] = []

    def work(client: Client, number: int) -> None:
        requests: list[tuple[Any, ...]] = [
            ("PUT", f"/tasks/{place.task_id}", {"title": f"of client {number}, {time.monotonic()}"}),
            ("GET", f"/tasks/{place.task_id}"),
            ("POST", "/tasks", {"title": f"of client {number}"}),
            ("GET", "/history"),
        ]
        for request in requests[number % 4 :]:
            started = time.monotonic()
            answers.append((started, client.request(*request)))

    def is_normal() -> bool:
        """Whether a second has passed in which each client could ask, and nobody was refused."""
        since = max(released, time.monotonic() - 1)
        recent = [answer.status for started, answer in answers[-1000:] if started + answer.seconds > since]
        return time.monotonic() > released + 1 and len(recent) > CLIENTS and 503 not in recent

    with crowd(place.service.port, CLIENTS, work):
        time.sleep(0.5)
        with fault(place):
            time.sleep(seconds)
        released = time.monotonic()
        wait_until(is_normal, f"everything is as it was:\n{place.service.log[-3000:]}", seconds=AFTER + 1)

    for _, answer in answers:
        assert answer.seconds <= deadline, answer
        assert answer.status in (200, 201, 503), answer
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) >= 1
    refused = [started + answer.seconds for started, answer in answers if answer.status == 503]
    last = max(0.0, max(refused, default=released) - released)
    assert last <= AFTER
    assert_replay_equals_tasks(place.sql)
    figure(
        f"{seconds} s: slowest answer {max(answer.seconds for _, answer in answers):.1f} s of {deadline} allowed,"
        f" {len(refused):,} of {len(answers):,} refused, the last {last:.1f} s after the release"
    )
