"""A synchronous pair: its primary dies, stands still or is demoted under load, and the standby is promoted.

All tests share the pair, the service and what its clients know: each begins with what the ones before have left.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest

from tests.faults.test_followers import end_of
from tests.support import backends
from tests.support.backends import DurableServer
from tests.support.folders import short_folder
from tests.support.ledger import Ledger
from tests.support.load import Answer, Client, at_once, crowd
from tests.support.pair import Pair
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.streams import Faithful
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

CLIENTS = 24
"""More than the service has connections. Every other one insists on its writes, with their keys."""

SOON = 3.0
"""Seconds from the promotion until every client has had a write acknowledged."""

QUICK = {"REQUEST_DEADLINE": "5", "DB_STATEMENT_TIMEOUT": "1", "DB_POOL_TIMEOUT": "1", "DB_LOCK_TIMEOUT": "0.5"}
"""Limits for the short run, in the order of the defaults, which the long run is for."""


@dataclass
class Place:
    """Where it happens: the servers, the service before them, and what its clients were told."""

    pair: Pair
    service: Service
    ledger: Ledger = field(default_factory=Ledger)

    def write(self, client: Client, number: int) -> None:
        if self.ledger.step(client, number, insists=bool(number % 2)).status == 503:
            time.sleep(0.1)
        time.sleep(0.05)

    def wait_for_writes(self) -> float:
        """Return when each client has had a write acknowledged; how many seconds that took."""
        began = time.monotonic()
        wait_until(
            lambda: len(self.ledger.last) == CLIENTS and min(self.ledger.last.values()) > began,
            f"all write:\n{self.service.log[-3000:]}",
        )
        return time.monotonic() - began

    def entries(self) -> set[str]:
        """The ids of all entries of the history."""
        with Sql(self.pair.primary.embedded.url) as sql:
            return {entry for (entry,) in sql.rows("SELECT history_id::text FROM task_history")}


@pytest.fixture(scope="module")
def place(sized: Callable[[Any, Any], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with short_folder() as folder:
        pair = Pair(folder)
        try:
            pair.start()
            service = Service({"DATABASE_URL": pair.url, **sized(QUICK, {})}, folder=tmp_path_factory.mktemp("service"))
            yield Place(pair, service)
            service.kill()
        finally:
            pair.stop()


class Probe(threading.Thread):
    """A load balancer that asks whether the service is ready, again and again: `answers` are (begun, ended, status)."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.answers: list[tuple[float, float, int]] = []
        self.ending = threading.Event()
        self._port = port

    def run(self) -> None:
        while not self.ending.wait(0.02):
            # Over a new connection each time, so that both workers are asked.
            with Client(self._port) as client:
                begun = time.monotonic()
                status = client.request("GET", "/health/ready").status
            self.answers.append((begun, time.monotonic(), status))

    def between(self, begin: float, end: float) -> list[int]:
        """What those got that asked after `begin`, and were answered before `end`."""
        return [status for begun, ended, status in list(self.answers) if begun > begin and ended < end]

    def since(self, begin: float) -> list[int]:
        """The same, until now."""
        return self.between(begin, time.monotonic())


@contextmanager
def watched(place: Place) -> Iterator[tuple[Probe, list[Faithful]]]:
    """While inside, a load balancer asks whether the service is ready, and others follow the changes from now on."""
    probe = Probe(place.service.port)
    with Client(place.service.port) as client:
        cursor = end_of(client)
    followers = [Faithful(place.service.url, cursor) for _ in range(4)]
    for thread in (probe, *followers):
        thread.start()
    try:
        yield probe, followers
    finally:
        probe.ending.set()
        for follower in followers:
            follower.leave()
        probe.join()


def fail(place: Place, fault: str) -> None:
    """Let the primary fail; return when the service has noticed."""
    silences = place.service.log.count("did not answer in time")
    getattr(place.pair, fault)()
    if fault == "freeze":
        # After DB_STATEMENT_TIMEOUT and a second.
        wait_until(lambda: place.service.log.count("did not answer in time") > silences, "the silence is noticed")


def thaw(place: Place, old: DurableServer) -> None:
    """The old primary goes on as one: it can acknowledge nothing, and nobody who knows the new one goes back to it."""
    place.pair.thaw(old)
    with Sql(old.embedded.url) as sql, Sql(place.pair.primary.embedded.url) as new:
        thawed = sql.value("SELECT clock_timestamp()")
        threading.Thread(target=write_at, args=(old,), daemon=True).start()
        wait_until(lambda: sql.value(f"SELECT count(*) {UNACKNOWLEDGED}"), "its write waits for a standby")
        # All choose a server again.
        backends.terminate(new)
        place.wait_for_writes()
        # But for those that had come in vain, and were accepted only now.
        came = f"SELECT count(*) FROM pg_stat_activity WHERE {backends.SERVICE} AND backend_start > %s"
        wait_until(lambda: not sql.value(came, (thawed,)), "nobody has come to the old one")
        assert sql.value(f"SELECT count(*) {UNACKNOWLEDGED}")


UNACKNOWLEDGED = "FROM pg_stat_activity WHERE query = 'CREATE TABLE alone ()' AND wait_event = 'SyncRep'"


def write_at(server: DurableServer) -> None:
    with suppress(psycopg2.OperationalError), Sql(server.embedded.url) as sql:
        sql.execute("CREATE TABLE alone ()")


@pytest.mark.parametrize("fault", ["demote", "kill", "freeze"])
def test_the_standby_takes_over(
    fault: str, place: Place, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    answers = place.ledger.answers.copy()
    seconds = [fail_over(place, fault) for _ in range(sized(1, 3))]
    answers = place.ledger.answers - answers
    figure(
        f"{len(seconds)} times, {CLIENTS} clients: {answers['acknowledged']:,} writes acknowledged, 0 lost, 0 doubled;"
        f" {answers['unknown']} reported as unknown, {answers['refused']} as not written, 0 of these untrue; all"
        f" write again {', '.join(f'{one:.1f}' for one in seconds)} s after the promotion"
    )
    assert max(seconds) <= SOON


def fail_over(place: Place, fault: str) -> float:
    """One failover under load, with all that is promised about it; return how long writes took to go on."""
    place.pair.complete()
    before = place.entries()
    with watched(place) as (probe, followers):
        with crowd(place.service.port, CLIENTS, place.write):
            place.wait_for_writes()
            wait_until(lambda: all(follower.items for follower in followers), "all follow")
            assert set(probe.between(0, time.monotonic())) == {200}
            fail(place, fault)
            failed = time.monotonic()
            wait_until(lambda: 503 in probe.since(failed), "it is not ready")
            down = probe.since(failed)
            place.pair.promote()
            seconds = place.wait_for_writes()
            served = time.monotonic()
            if fault == "freeze":
                thaw(place, place.pair.standby)
            wait_until(lambda: len(probe.since(served)) >= 5, "it was asked again")
            assert set(down) == {503}
            assert set(probe.since(served)) == {200}
            if fault == "demote":
                assert_left(place.pair.standby)
        with Sql(place.pair.primary.embedded.url) as sql:
            place.ledger.check(sql)
        new = place.entries() - before
        wait_until(lambda: all(set(follower.items) == new for follower in followers), "every change has come")
        assert {status for follower in followers for status in follower.statuses} == {200}
    return seconds


def assert_left(server: DurableServer) -> None:
    """No connection of the service is there."""
    with Sql(server.embedded.url) as sql:
        wait_until(lambda: not backends.count(sql), "nobody uses the old primary any more", seconds=5)


def test_readiness_alone_leaves_a_demoted_primary(place: Place) -> None:
    """A load balancer sends nothing else while the service is not ready."""

    def ready(client: Client, _: int) -> Answer:
        return client.request("GET", "/health/ready")

    place.pair.complete()
    old = place.pair.primary
    # Each worker has connections.
    assert {answer.status for answer in at_once(place.service.port, CLIENTS, ready)} == {200}
    place.pair.demote()
    place.pair.promote()
    wait_until(
        lambda: {answer.status for answer in at_once(place.service.port, CLIENTS, ready)} == {200}, "all are ready"
    )
    assert_left(old)


def test_a_cursor_that_has_seen_more_than_the_standby_skips_nothing(place: Place) -> None:
    """Transactions that write nothing, or are rolled back, take numbers of which the standby may never hear."""
    place.pair.complete()
    with Client(place.service.port) as client:
        place.ledger.step(client, 0)
        with Sql(place.pair.primary.embedded.url) as sql:
            for _ in range(20):
                sql.execute("SELECT pg_current_xact_id()")
        cursor, before = end_of(client), place.entries()
        place.pair.kill()
        place.pair.promote()
        wait_until(lambda: client.request("GET", "/health/ready").status == 200, "it is ready")
        for _ in range(40):
            # Some numbers are given away once more.
            place.ledger.step(client, 0)
            answer = client.request("GET", f"/changes?limit=1000&after={cursor}")
            if answer.status != 410:
                # The old primary has just told the standby, as it does every 15 seconds.
                assert {item["history_id"] for item in answer.data["items"]} == place.entries() - before
