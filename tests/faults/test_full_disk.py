"""A full disk degrades: writes are refused with 503, reads go on, and room is all that is needed to go on.

The disk is a real one that is full to the last byte (see tests/support/small_disk.py). What Postgres does then depends
on what was on it. Where it is the tables that cannot grow, a write is refused, and reads notice nothing. Where it is
the log of changes (WAL), Postgres gives itself up ("PANIC") and stays down until there is room: nobody can read then,
and what is left to promise is that every request is answered with 503, that nothing acknowledged is lost, and that the
service goes on by itself as soon as the database is back.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.backends import processes
from tests.support.folders import short_folder
from tests.support.ledger import NOTHING, UNKNOWN
from tests.support.load import Answer, Client, crowd
from tests.support.replay import assert_replay_equals_tasks
from tests.support.small_disk import SmallDisk
from tests.support.sql import Sql
from tests.support.waiting import wait_until

CLIENTS = 10

READS = ["/tasks/{id}", "/tasks", "/history", "/history?task_id={id}", "/stats/weekly", "/health", "/health/ready"]


@contextmanager
def server_on(what: str) -> Iterator[SmallDisk]:
    with short_folder() as folder:
        disk = SmallDisk(folder, what, megabytes=48)
        try:
            yield disk
        finally:
            disk.stop()


def incompressible() -> str:
    """The largest description, which needs room wherever it is written: tasks, and the history's snapshots."""
    return "".join(chr(random.randrange(0x4E00, 0x9FFF)) for _ in range(5000))


def create(client: Client) -> Answer:
    return client.request("POST", "/tasks", {"title": "needs room", "description": incompressible()})


def every_write(client: Client, ids: list[str]) -> list[Answer]:
    """Each kind of write: on tasks that are still to be completed, completed, and to be deleted."""
    return [
        create(client),
        client.request("PUT", f"/tasks/{ids[0]}", {"title": f"renamed {random.random()}"}),
        client.request("PATCH", f"/tasks/{ids[1]}/complete"),
        client.request("PATCH", f"/tasks/{ids[2]}/incomplete"),
        client.request("DELETE", f"/tasks/{ids[3]}"),
    ]


def every_read(client: Client, ids: list[str]) -> list[Answer]:
    return [client.request("GET", path.format(id=ids[0])) for path in READS]


def assert_refused(answer: Answer, *sentences: str) -> None:
    assert answer.status == 503, answer
    assert int(answer.headers["Retry-After"]) >= 1
    assert not answer.envelope["success"]
    assert any(sentence in answer.envelope["error"] for sentence in sentences), answer.body


def four_tasks(client: Client) -> list[str]:
    """Four tasks, whose third is completed."""
    ids = [create(client).data["id"] for _ in range(4)]
    assert client.request("PATCH", f"/tasks/{ids[2]}/complete").status == 200
    return ids


def written(sql: Sql) -> list[tuple[Any, ...]]:
    """Figures that every write moves."""
    return sql.rows("SELECT count(*), sum(version), (SELECT count(*) FROM task_history) FROM tasks")


def test_no_room_for_the_tables(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    wanted, refused, read = sized(200, 5000), 0, 0
    with server_on("tables") as disk:
        service = start_service(DATABASE_URL=disk.url, WEB_CONCURRENCY="2")
        running = service.workers(), (disk.data / "postmaster.pid").read_text()
        with Sql(disk.url) as sql, Client(service.port) as client:
            ids = four_tasks(client)
            disk.fill()
            # There may be room for one more in the last pages.
            wait_until(lambda: create(client).status == 503, "a write is refused")
            before = written(sql)

            def work(client: Client, number: int) -> None:
                nonlocal refused, read
                for answer in every_write(client, ids):
                    assert_refused(answer, NOTHING)
                    refused += 1
                for answer in every_read(client, ids):
                    assert answer.status == 200, answer
                    read += 1

            with crowd(service.port, CLIENTS, work):
                wait_until(lambda: refused >= wanted, "many were refused", seconds=300)
            assert written(sql) == before
            assert "the database refused: could not extend file" in service.log
            assert "No space left on device" in service.log

            disk.empty()
            # The other connection has rested for longer than one may, perhaps.
            with Client(service.port) as another:
                answers = every_write(another, ids)
                assert [answer.status for answer in answers] == [201, 200, 200, 200, 200]
                assert {answer.status for answer in every_read(another, ids)} == {200}
            assert (service.workers(), (disk.data / "postmaster.pid").read_text()) == running
            assert_replay_equals_tasks(sql)
        assert "Traceback" not in service.log
    figure(
        f"tables: {refused:,} writes, all of them 503; {read:,} reads, all of them 200; with room, all is well at once"
    )


def test_no_room_for_the_log(start_service: Any, figure: Callable[[str], None]) -> None:
    with server_on("log") as disk:
        service = start_service(DATABASE_URL=disk.url, WEB_CONCURRENCY="2", DB_POOL_TIMEOUT="0.5")
        workers = service.workers()
        answers: Counter[int] = Counter()
        acknowledged: list[str] = []
        with Client(service.port) as client:
            ids = four_tasks(client)
        disk.fill()

        def work(client: Client, number: int) -> None:
            answer = create(client)
            answers[answer.status] += 1
            if answer.status == 201:
                acknowledged.append(answer.data["id"])
            else:
                assert_refused(answer, NOTHING, UNKNOWN)
                time.sleep(0.1)
            read = client.request("GET", f"/tasks/{ids[0]}")
            assert read.status in (200, 503), read

        with crowd(service.port, CLIENTS, work):
            wait_until(lambda: not processes(disk.data), "the database gives up", seconds=60)
            down = answers[503]
            wait_until(lambda: answers[503] > down + 2 * CLIENTS, "writes are refused")
            disk.empty()
            disk.start()
            again = len(acknowledged)
            wait_until(lambda: len(acknowledged) > again + 2 * CLIENTS, "writes go on", seconds=10)
        with Client(service.port) as client:
            assert [answer.status for answer in every_write(client, ids)] == [201, 200, 200, 200, 200]
        assert service.workers() == workers
        assert "Traceback" not in service.log
        with Sql(disk.url) as sql:
            assert_replay_equals_tasks(sql)
            assert {task_id for (task_id,) in sql.rows("SELECT id::text FROM tasks")} >= set(acknowledged)
    figure(f"log: {len(acknowledged)} writes acknowledged, 0 lost; {answers[503]} refused while the database was down")
