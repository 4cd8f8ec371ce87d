"""Many who follow the changes cost a worker one connection; deploys and outages make nobody miss anything."""

import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from taskapi.cursors import position_cursor
from tests.faults.test_slow_readers import memory
from tests.support import raw
from tests.support.backends import DurableServer, count, kill_one
from tests.support.load import BROKEN, Client
from tests.support.owners import SECRET, secured, token
from tests.support.sql import Sql
from tests.support.streams import POLLS, Faithful, Streams
from tests.support.waiting import wait_until

WORKERS = 2


def end_of(client: Client) -> str:
    """The cursor after all that there is."""
    page = client.request("GET", "/changes?limit=1000").data
    while page["has_more"]:
        page = client.request("GET", f"/changes?limit=1000&after={page['cursor']}").data
    return str(page["cursor"])


def test_followers_get_every_change_over_one_connection_a_worker(
    start_service: Any, database_url: str, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    followers, writes = sized(40, 300), sized(20, 100)
    # Never through a pooler, whose connections these would be.
    service = start_service(DATABASE_URL=database_url, WEB_CONCURRENCY=str(WORKERS))
    with Client(service.port) as client, Sql(database_url) as sql:
        cursor = end_of(client)
        with Streams(service.port, followers, cursor) as streams:
            wait_until(lambda: streams.begun == followers, "every stream has begun")
            connections = count(sql)
            sent = []
            for number in range(writes):
                sent.append(time.monotonic())
                assert client.create(f"Task {number}").status == 201
                time.sleep(0.03)
            ids = [entry for (entry,) in sql.rows("SELECT history_id::text FROM task_history ORDER BY timestamp")]
            wait_until(lambda: all(len(seen) == writes for seen in streams.seen), "all have come")
            assert all(list(seen) == ids for seen in streams.seen)
            # One for each worker's followers; the writes may have taken another one.
            assert connections <= WORKERS
            assert count(sql) <= 2 * WORKERS
        seconds = sorted(seen[entry] - sent[number] for seen in streams.seen for number, entry in enumerate(ids))
    figure(
        f"{followers} followers of {writes} writes, from before the write to the client: p50"
        f" {seconds[len(seconds) // 2] * 1000:.0f} ms, p99 {seconds[len(seconds) * 99 // 100] * 1000:.0f} ms;"
        f" {connections} connections of {WORKERS} workers"
    )


def test_followers_of_as_many_owners_get_what_is_theirs(
    start_service: Any, database_url: str, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    owners, writes = sized(40, 300), sized(20, 100)
    service = start_service(DATABASE_URL=secured(database_url), WEB_CONCURRENCY=str(WORKERS), JWT_SECRET=SECRET)
    names = [f"owner-{number}" for number in range(owners)]
    tokens = [token(name) for name in names]
    with Client(service.port) as client, Sql(database_url) as sql:
        # A database's first cursor: nobody has an entry yet.
        cursor = position_cursor(sql.value("SELECT position_now('nobody')"))
        with Streams(service.port, owners, cursor, tokens) as streams:
            wait_until(lambda: streams.begun == owners, "every stream has begun")
            connections = count(sql)
            sent: dict[int, float] = {}
            chosen = random.Random(1)
            for number in range(writes):
                client.token = tokens[chosen.randrange(owners)]
                sent[number] = time.monotonic()
                assert client.create(f"Task {number}").status == 201
                time.sleep(0.03)
            rows = sql.rows("SELECT owner, history_id::text FROM task_history ORDER BY timestamp")
            theirs = {name: [entry for owner, entry in rows if owner == name] for name in names}
            wait_until(lambda: sum(map(len, streams.seen)) == writes, "all have come")
            assert [list(seen) for seen in streams.seen] == [theirs[name] for name in names]
            # One for each worker's followers; the writes may have taken another one.
            assert connections <= WORKERS
            assert count(sql) <= 2 * WORKERS
        moments = {entry: sent[number] for number, (_, entry) in enumerate(rows)}
        seconds = sorted(moment - moments[entry] for seen in streams.seen for entry, moment in seen.items())
    figure(
        f"{owners} followers of {owners} owners, {writes} writes: p50 {seconds[len(seconds) // 2] * 1000:.0f} ms, p99"
        f" {seconds[len(seconds) * 99 // 100] * 1000:.0f} ms; {connections} connections of {WORKERS} workers"
    )


def test_a_stream_ends_with_its_token(start_service: Any, database_url: str) -> None:
    service = start_service(DATABASE_URL=secured(database_url), JWT_SECRET=SECRET, JWT_LEEWAY="0")
    with Sql(database_url) as sql:
        cursor = position_cursor(sql.value("SELECT position_now('ann')"))
    with Streams(service.port, 2, cursor, [token("ann", 2), token("ann")]) as streams:
        wait_until(lambda: streams.begun == 2, "both have begun")
        wait_until(lambda: streams.ended == 1, "the one whose token has expired has ended", seconds=20)
        with Client(service.port) as client:
            client.token = token("ann")
            client.create("for who may still see it")
        wait_until(lambda: streams.seen[1], "the other one goes on")
    assert not streams.seen[0]
    assert "Traceback" not in service.log


@contextmanager
def following(service: Any, number: int) -> Iterator[list[Faithful]]:
    """While inside, so many clients follow from now on, and somebody writes."""
    with Client(service.port) as client:
        cursor = end_of(client)
    ending = threading.Event()

    def write() -> None:
        with Client(service.port) as client:
            while not ending.is_set():
                with suppress(*BROKEN):
                    client.create("one more")
                ending.wait(0.02)

    clients = [Faithful(service.url, cursor) for _ in range(number)]
    writer = threading.Thread(target=write, daemon=True)
    for thread in (writer, *clients):
        thread.start()
    try:
        wait_until(lambda: all(client.items for client in clients), "all follow")
        yield clients
    finally:
        ending.set()
        writer.join()


def assert_all_came(clients: list[Faithful], url: str) -> None:
    """Each client has every entry, and leaves."""
    with Sql(url) as sql:
        entries = {entry for (entry,) in sql.rows("SELECT history_id::text FROM task_history")}
    wait_until(lambda: all(set(client.items) == entries for client in clients), "all have come")
    for client in clients:
        client.leave()


def test_a_deploy_ends_streams_and_waits_at_once_and_nobody_misses_anything(start_service: Any) -> None:
    service = start_service()
    with following(service, 6) as clients:
        before = [client.begun for client in clients]
        service.hup()
        wait_until(
            lambda: all(client.begun > begun for client, begun in zip(clients, before, strict=True)), "all came back"
        )
    assert_all_came(clients, service.database_url)
    assert {status for client in clients for status in client.statuses} == {200}
    # A stream ends as an answer does: no connection was cut.
    assert [client.broken for client in clients] == [[]] * 6

    with Client(service.port, patience=60) as client:
        cursor = end_of(client)
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(client.request("GET", f"/changes?wait=25&after={cursor}")), daemon=True
        )
        with Sql(service.database_url) as sql:
            known = sql.value(POLLS)
            waiting.start()
            wait_until(lambda: sql.value(POLLS) > known + 3, "the wait has begun")
        assert service.stop() == 0
        waiting.join()
    assert (answers[0].status, answers[0].data["items"]) == (200, [])
    # It began a moment before.
    assert answers[0].seconds < 20
    assert answers[0].headers["Connection"] == "close"
    assert "Traceback" not in service.log


def test_an_outage_of_the_database_leaves_no_gap(own_server: DurableServer, start_service: Any) -> None:
    url = own_server.embedded.url
    service = start_service(DATABASE_URL=url)
    with following(service, 4) as clients:
        with Sql(url) as sql:
            kill_one(sql)
        own_server.kill()
        came = [len(client.items) for client in clients]
        own_server.start()
        wait_until(
            lambda: all(len(client.items) > before for client, before in zip(clients, came, strict=True)),
            f"the changes go on:\n{service.log[-2000:]}",
        )
    assert_all_came(clients, url)
    assert {comment for client in clients for comment in client.comments} <= {": nothing new", ": the database is away"}
    assert [client.broken for client in clients] == [[]] * 4
    assert {status for client in clients for status in client.statuses} == {200}
    assert "Traceback" not in service.log


FILL = """
SET session_replication_role = replica;  -- the triggers ask for tasks, which nobody reads here
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT gen_random_uuid(), 'CREATED', repeat('x', 5000), now() + number * interval '1 microsecond', 1, '{}'
FROM generate_series(1, 4000) AS number
"""


def test_who_does_not_read_holds_little_and_is_left(start_service: Any, figure: Callable[[str], None]) -> None:
    # A client may pause so long.
    service = start_service(REQUEST_DEADLINE="3")
    with Sql(service.database_url) as sql:
        sql.execute(FILL)
    (worker,) = service.workers()
    before = memory(worker)
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(raw.request("GET", "/api/v1/changes", {"Accept": "text/event-stream"}))
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        more = memory(worker) - before
        # Of each stream a batch of 100 changes, and what is made of it.
        assert more < 20 * 2_000_000
        established = f"ss -Htn state established '( sport = :{service.port} )'"
        wait_until(lambda: not subprocess.check_output(established, shell=True), "the service has left them all")
    assert "Traceback" not in service.log
    figure(f"20 streams of 20 MB that nobody reads: {more / 2**20:.0f} MiB more")


@pytest.mark.long
def test_a_stream_without_changes_stays(start_service: Any) -> None:
    """Longer than any answer may take otherwise."""
    service = start_service(REQUEST_DEADLINE="1")
    with Client(service.port) as client:
        cursor = end_of(client)
        with Streams(service.port, 5, cursor) as streams:
            wait_until(lambda: all(text.count(b": nothing new") >= 4 for text in streams.text), "comments", seconds=90)
            with Client(service.port) as writer:
                writer.create("after a minute")
            wait_until(lambda: all(streams.seen), "it came")
            assert streams.ended == 0
