"""A client can rely on "nothing was written", however the runs of its write ended."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from taskapi.database.database import Database
from taskapi.errors import (
    AnswerLost,
    DatabaseUnavailable,
    OutcomeUnknown,
    RolledBack,
    TaskapiError,
)
from taskapi.repository import Repository
from taskapi.repository.base import Written
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.ledger import NOTHING
from tests.support.proxy import Fate, Proxy, before_database, socket_of, through
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of
from tests.support.waiting import wait_until

WROTE = ["answer cut", "answer never comes"]
LOST = [*WROTE, "request cut"]
"""How a run ends of which nobody knows whether it wrote."""

AGAIN = {"serialization failure": "40001", "deadlock": "40P01", "read-only": "25006", "key raced": "23505"}
"""Refusals that rolled back, and may not come again; and their SQLSTATE (PostgreSQL's manual, appendix A)."""

REFUSED = {
    "disk full": "53100",
    "lock timeout": "55P03",
    "statement timeout": "57014",
    "system error": "58030",
    "internal error": "XX000",
    "other schema": "42P01",
    "defect": "P0001",
    "server ends": "57P01",
}
"""The other ways in which a server ends a run."""

CODES = {**AGAIN, **REFUSED}

PAIRS = [
    *product(LOST, ["well", "no connection", "pool busy", *LOST, *CODES]),
    *product(AGAIN, ["well", "pool busy", "answer cut", "disk full", "server ends"]),
]

SCRIPT = """
ALTER TABLE task_history RENAME TO kept_history;
CREATE TABLE script (pair text PRIMARY KEY, code text);
CREATE FUNCTION played() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    refusal text := (SELECT code FROM script WHERE pair = current_setting('test.pair', true));
BEGIN
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = refusal, CONSTRAINT = 'task_history_idempotency_key';
    END IF;
    RETURN true;
END $$;
CREATE VIEW task_history AS SELECT * FROM kept_history WHERE played();
"""
"""Who uses the history gets what the script has for his pair just now."""

PATIENT: dict[str, Any] = {
    "db_connections": 1,
    "db_pool_timeout": 20.0,
    "db_lock_timeout": 20.0,
    "db_statement_timeout": 20.0,
    "request_deadline": 60.0,
}
"""For runs that nothing but the script may end, also on a busy machine."""


def limits(first: str, second: str) -> dict[str, Any]:
    """The settings for runs that end like this. What ends by the clock alone has a few seconds."""
    pool = {"db_pool_timeout": 3.0} if second in ("no connection", "pool busy") else {}
    statement = {"db_statement_timeout": 2.0} if "answer never comes" in (first, second) else {}
    whole = {"request_deadline": 8.0} if second in AGAIN else {}
    return {**PATIENT, **pool, **statement, **whole}


class Stage(Proxy):
    """Lets the first run of create_task end in one way, and all further ones in another."""

    def __init__(self, target: str, first: str, second: str, *, between: Callable[[], object]) -> None:
        super().__init__(target)
        self._ends = first, second
        self._between = between
        self._runs = 0
        self._is_running = False
        self._no_connection = False

    def fate(self, data: bytes, is_answer: bool) -> Fate:
        if not is_answer and b"create_task" in data:
            self._runs += 1
            self._is_running = True
            return self._end() if self._now == "request cut" else Fate.PASS
        if is_answer and self._is_running:
            return self._end()
        return Fate.CUT if self._no_connection else Fate.PASS

    @property
    def _now(self) -> str:
        return self._ends[min(self._runs, 2) - 1]

    def _end(self) -> Fate:
        self._is_running = False
        if self._runs == 1:
            self._no_connection = self._ends[1] == "no connection"
            self._between()
        return {"answer never comes": Fate.DROP, "answer cut": Fate.CUT, "request cut": Fate.CUT}.get(
            self._now, Fate.PASS
        )


@dataclass
class End:
    """The final answer, and how many entries the key has."""

    answer: Written | TaskapiError
    entries: int


def play(url: str, number: int, first: str, second: str) -> Written | TaskapiError:
    """The answer to a client that creates a task with a key and whose runs end like this."""
    answered = threading.Event()

    def create() -> Written | TaskapiError:
        try:
            return repository.create_task(title=f"{first}, {second}", description=None, idempotency_key=str(number))
        except TaskapiError as error:
            return error

    def keep_busy() -> None:
        permits.acquire(60)
        answered.wait()

    def between() -> None:
        sql.execute("UPDATE script SET code = %s WHERE pair = %s", (CODES.get(second), str(number)))

    with Sql(url) as sql, Stage(socket_of(url), first, second, between=between) as stage:
        address = f"{through(stage, url)}&options=-c%20test.pair%3D{number}"
        database = Database(Settings(database_url=address, **limits(first, second)))
        repository, permits = Repository(database), database._permits
        repository.schema_version()
        with ThreadPoolExecutor(2) as threads:
            # Whoever wants the connection stands in line before the first run, since there is one connection.
            assert permits.acquire(0)
            answer = threads.submit(create)
            wait_until(lambda: len(permits._waiters) == 1, "the client is first")
            if second == "pool busy":
                threads.submit(keep_busy)
                wait_until(lambda: len(permits._waiters) == 2, "the other one is next")
            permits.release()
            try:
                return answer.result()
            finally:
                answered.set()
                database.drain()


@pytest.fixture(scope="module")
def ends(module_database_url: str) -> dict[tuple[str, str], End]:
    """How each pair ended. They are played all at once, because most of them wait most of the time."""
    url = module_database_url
    with Sql(url) as sql:
        sql.execute(SCRIPT)
        for number, (first, _) in enumerate(PAIRS):
            sql.execute("INSERT INTO script VALUES (%s, %s)", (number, CODES.get(first)))
        with ThreadPoolExecutor(len(PAIRS)) as threads:
            played = [threads.submit(play, url, number, *pair) for number, pair in enumerate(PAIRS)]
        keys = dict(sql.rows("SELECT idempotency_key::integer, count(*) FROM kept_history GROUP BY 1"))
        return {
            pair: End(future.result(), keys.get(number, 0))
            for number, (pair, future) in enumerate(zip(PAIRS, played, strict=True))
        }


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=map(" then ".join, PAIRS))
def test_nothing_was_written_is_said_only_where_it_is_known(
    first: str, second: str, ends: dict[tuple[str, str], End]
) -> None:
    answer, entries = ends[first, second].answer, ends[first, second].entries
    has_written = first in WROTE or second in {*WROTE, "well"}
    assert entries == has_written
    if second == "well":
        assert isinstance(answer, Written)
        assert answer.replayed == (first in LOST and first != "request cut")
    elif second == "defect":
        assert NOTHING not in str(answer)
    elif {first, second} & {*LOST, "server ends"}:
        assert type(answer) is OutcomeUnknown
    else:
        assert isinstance(answer, DatabaseUnavailable)
        assert NOTHING in str(answer)


def test_a_read_whose_answer_is_lost_has_written_nothing(database_url: str) -> None:
    proxy, url = before_database(database_url)
    repository = Repository(Database(Settings(database_url=url, request_deadline=1.0)))
    with proxy:
        repository.list_tasks()
        proxy.swallowing = True
        with pytest.raises(AnswerLost, match=NOTHING):
            repository.list_tasks()


def test_what_the_deadline_ends_was_not_written(database_url: str, new_repository: NewRepository, sql: Sql) -> None:
    """The server gives up before we do, also where less time is left than it usually has."""
    repository = new_repository(database_url, request_deadline=1.0)
    task_id = id_of(repository.create_task(title="Buy", description=None))
    with Sql(database_url) as holder, holder.transaction():
        holder.execute("SELECT FROM tasks FOR UPDATE")
        with pytest.raises(RolledBack, match=NOTHING):
            repository.update_task(task_id=task_id, changes={"title": "in vain"})
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    wait_until(lambda: sql.value(waiting) == 0, "nobody waits for the lock")
    assert task_of(repository.update_task(task_id=task_id, changes={"description": "since"}))["title"] == "Buy"
    assert sql.value("SELECT count(*) FROM task_history") == 2
