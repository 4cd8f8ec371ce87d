"""An acknowledged write survives, once: PostgreSQL's processes are killed with kill -9 while clients write."""

import time
from collections.abc import Callable
from typing import Any

from tests.support import backends
from tests.support.backends import DurableServer
from tests.support.ledger import Ledger
from tests.support.load import Client, crowd
from tests.support.sql import Sql
from tests.support.waiting import wait_until


def test_an_acknowledged_write_survives_once(
    own_server: DurableServer,
    start_service: Any,
    sized: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    clients, rounds = sized(20, 100), sized(2, 50)
    url = own_server.embedded.url
    service = start_service(DATABASE_URL=url, WEB_CONCURRENCY="2")
    ledger = Ledger()

    def write(client: Client, number: int) -> None:
        if ledger.step(client, number).status == 503:
            time.sleep(0.1)

    def go_on() -> None:
        """Return when each client, on the average, had two more writes acknowledged."""
        enough = ledger.acknowledged + 2 * clients
        wait_until(lambda: ledger.acknowledged >= enough, f"writes go on:\n{service.log[-3000:]}")

    with crowd(service.port, clients, write):
        for _ in range(rounds):
            go_on()
            with Sql(url) as sql:
                backends.kill_one(sql)
            go_on()
            own_server.kill()
            own_server.start()
        while "the database cut the connection" not in service.log:
            go_on()
            with Sql(url) as sql:
                backends.kill_one(sql)
        go_on()

    with Sql(url) as sql:
        ledger.check(sql)
        entries = sql.value("SELECT count(*) FROM task_history")
    assert ledger.slowest <= 30
    figure(
        f"{rounds} kills of a backend and {rounds} of the server, {clients} clients: {ledger.acknowledged:,} writes"
        f" acknowledged, 0 lost, 0 doubled; {ledger.answers['unknown']:,} reported as unknown,"
        f" {ledger.answers['refused']:,} as not written; {entries:,} entries replayed;"
        f" slowest answer {ledger.slowest:.1f} s"
    )
