"""A deploy loses nothing: reloads and ended workers, under clients that keep their connections."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskapi.database.database import Database
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.support.backends import count
from tests.support.load import BROKEN, Client, crowd
from tests.support.migrating import copy_code
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.waiting import wait_until

BUSY, CALM = 16, 16
"""Clients that ask again at once, and that let their connection rest for a moment, as a person's browser does."""


def test_reloads_and_ended_workers_fail_no_request(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    reloads, ends = sized(2, 20), sized(1, 10)
    service = start_service(WEB_CONCURRENCY="2")
    failures: list[str] = []
    answered = 0

    def work(client: Client, number: int) -> None:
        nonlocal answered
        try:
            created = client.create(f"of client {number}")
            read = client.request("GET", f"/tasks/{created.data['id']}") if created.status == 201 else created
            statuses = created.status, read.status
            if statuses != (201, 200):
                failures.append(f"{statuses}: {created.body!r} {read.body!r}")
            answered += 2
        except BROKEN as error:
            failures.append(repr(error))
        if number >= BUSY:
            time.sleep(random.uniform(0, 1))

    with crowd(service.port, BUSY + CALM, work):
        for _ in range(reloads):
            service.hup()
        for _ in range(ends):
            end_one_worker(service)

    assert not failures, f"{len(failures)} of {answered}: {failures[:5]}\n{service.log}"
    with Sql(service.database_url) as sql:
        assert_replay_equals_tasks(sql)
    assert "ERROR" not in service.log
    figure(f"{reloads} reloads and {ends} ended workers under {answered:,} requests: 0 failed")


def test_a_connection_that_comes_last_is_served(start_service: Any, tmp_path: Path) -> None:
    """Its listener is closed before the worker gets to it: here that takes half a second, as on a busy machine."""
    code = copy_code(tmp_path)
    worker = code / "taskapi" / "server" / "worker.py"
    serve = "            AsyncWorker.handle("
    assert serve in worker.read_text()
    worker.write_text(worker.read_text().replace(serve, f"            gevent.sleep(0.5)\n{serve}"))
    service = start_service(code=code)
    failures: list[str] = []
    answered = 0

    def work(_: Client, number: int) -> None:
        nonlocal answered
        try:
            with Client(service.port) as client:
                assert client.create(f"of client {number}").status == 201
            answered += 1
        except BROKEN as error:
            failures.append(repr(error))

    with crowd(service.port, 8, work):
        wait_until(lambda: answered > 8, "clients write")
        service.hup()
        before = answered
        wait_until(lambda: answered > before + 8, "they still do")
    assert failures == []
    assert "connection object" not in service.log, "SQLAlchemy's pool tells of each connection"


def loading_waits_for(go: Path, code: Path) -> None:
    """Change the code: a worker is not ready before this file is there. On a busy machine, it takes seconds."""
    worker = code / "taskapi" / "server" / "worker.py"
    load = "        super().load_wsgi()\n"
    assert load in worker.read_text()
    wait = f"        while not os.path.exists({str(go)!r}):\n            gevent.sleep(0.05)\n"
    worker.write_text(worker.read_text().replace(load, wait + load))


def test_old_workers_serve_until_the_new_ones_are_ready(start_service: Any, tmp_path: Path) -> None:
    service, go = start_service(code=copy_code(tmp_path), WEB_CONCURRENCY="2"), tmp_path / "go"
    loading_waits_for(go, tmp_path)
    old = set(service.workers())
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(set(service.workers()) - old) == 2, "the new workers have been started")
    # gunicorn's end within a second or two.
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with Client(service.port) as client:
            assert client.create("on a new connection").status == 201
    assert old < set(service.workers())
    # A new one that dies is replaced, and the old ones go on.
    os.kill(max(service.workers()), signal.SIGKILL)
    with Client(service.port) as client:
        assert client.create("meanwhile").status == 201
    go.touch()
    wait_until(lambda: len(service.workers()) == 2 and not old & set(service.workers()), "the new ones have taken over")
    with Client(service.port) as client:
        assert client.create("to a new worker").status == 201


def test_the_end_does_not_wait_for_new_workers(start_service: Any, tmp_path: Path) -> None:
    service = start_service(code=copy_code(tmp_path), WEB_CONCURRENCY="2")
    loading_waits_for(tmp_path / "never", tmp_path)
    old = set(service.workers())
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(set(service.workers()) - old) == 2, "the new workers have been started")
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not old & set(service.workers()), "the old workers end at once", seconds=20)
    assert service.process.wait(60) == 0


TAKE = """
import os, sys
from taskapi.database.slots import Slots
print(Slots(os.open(sys.argv[1], os.O_RDWR), 1).take(0))
"""


def test_an_ending_worker_keeps_a_connection_for_requests_that_still_come(database_url: str, tmp_path: Path) -> None:
    """Others take at once what it gives up."""
    slots = tmp_path / "slots"
    slots.touch()
    settings = Settings(database_url=database_url, db_connections=1, workers=1, slots=os.open(slots, os.O_RDWR))
    database = Database(settings)
    repository = Repository(database)
    for _ in range(3):
        repository.create_task(title="before and after", description=None)
        database.drain()
        taken = subprocess.check_output([sys.executable, "-c", TAKE, str(slots)], text=True)
        assert taken == "None\n"


def end_one_worker(service: Any) -> None:
    """TERM to one worker; return when it is gone and another one has taken its place."""
    before = service.workers()
    victim = random.choice(before)
    signalled = 0.0

    def replaced() -> bool:
        nonlocal signalled
        now = service.workers()
        if victim in now and time.monotonic() > signalled + 1:
            # More than once: a gunicorn worker that has just started does not hear it.
            os.kill(victim, signal.SIGTERM)
            signalled = time.monotonic()
        return victim not in now and len(now) == len(before)

    wait_until(replaced, f"another worker is there:\n{service.log}", seconds=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_behind(start_service: Any, database_url: str, number: signal.Signals) -> None:
    # Never through a pooler, which keeps its own connections.
    service = start_service(DATABASE_URL=database_url, WEB_CONCURRENCY="2")
    with Client(service.port) as client:
        assert client.create("before the end").status == 201
        service.process.send_signal(number)
    assert service.process.wait(60) == 0
    with Sql(database_url) as sql:
        wait_until(lambda: count(sql) == 0, "no connection is left at the database")
