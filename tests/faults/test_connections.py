"""Never more than the allowed connections: not under load, not while workers are replaced."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.load import BROKEN, Client, crowd
from tests.support.sql import Sql
from tests.support.waiting import wait_until

ALLOWED = 20
"""The default of DB_CONNECTIONS."""

# A migration's would count, too.
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'taskapi%'
"""


@contextmanager
def samples(url: str) -> Iterator[list[int]]:
    """While inside, count the connections every 100 ms."""
    counts: list[int] = []
    ending = threading.Event()

    def sample() -> None:
        with Sql(url) as sql:
            while not ending.wait(0.1):
                counts.append(sql.value(CONNECTIONS))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield counts
    finally:
        ending.set()
        thread.join()


def test_reloads_and_killed_workers_stay_under_the_cap(
    start_service: Any, database_url: str, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    clients, rounds = sized(60, 200), sized(1, 10)
    # Never through a pooler, whose connections are its own.
    service = start_service(DATABASE_URL=database_url, WEB_CONCURRENCY="2", DB_LOCK_TIMEOUT="1", DB_POOL_TIMEOUT="1")
    statuses: Counter[int] = Counter()
    meets_anyone = True

    def work(client: Client, number: int) -> None:
        try:
            statuses[client.create(f"of client {number}").status] += 1
            if meets_anyone:
                client.close()
        except BROKEN:
            # Its worker was killed.
            statuses[0] += 1

    with samples(database_url) as counts, crowd(service.port, clients, work):
        with Sql(database_url) as holder, holder.transaction():
            # However fast the service is, now its writes keep their connections; and no worker keeps all clients.
            holder.execute("LOCK TABLE tasks IN SHARE MODE")
            wait_until(lambda: max(counts, default=0) >= ALLOWED, "the load takes every connection")
        meets_anyone = False
        for _ in range(rounds):
            service.hup()
            time.sleep(0.5)
        assert not statuses[0]
        # To look at the schema would take one more; where no migration is new, nobody looks.
        assert service.log.count("The database's schema is") == 1
        os.kill(random.choice(service.workers()), signal.SIGKILL)
        wait_until(lambda: len(service.workers()) == 2, "the killed worker is replaced")
        time.sleep(1)

    assert max(counts) <= ALLOWED, counts
    assert set(statuses) <= {0, 201, 503}
    figure(
        f"{clients} clients, {rounds} reloads, a killed worker: at most {max(counts)} connections in {len(counts)}"
        f" samples, {statuses[201]:,} writes, {statuses[503]} refused"
    )
