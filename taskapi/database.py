"""Runs one statement: takes a connection from the pool, keeps the deadline, and translates the driver's errors."""

import logging
import os
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

import psycopg2
from psycopg2.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from taskapi import queries
from taskapi.connection import Connection, DeadlinePassed, connect, limits
from taskapi.database_url import libpq_url, without_password
from taskapi.errors import (
    ConnectFailed,
    IdempotencyKeyRaced,
    OutcomeUnknown,
    PoolBusy,
    RolledBack,
    SchemaMismatch,
    StatementFailed,
)
from taskapi.semaphore import FairSemaphore
from taskapi.settings import Settings
from taskapi.slots import Slots

log = logging.getLogger("taskapi.database")

CONNECT_TIMEOUT = 10.0
"""Seconds for opening one connection: Neon needs up to ten to wake up."""

CONNECT_PAUSE = 0.1
"""Seconds between two tries to connect."""

GRACE = 1.0
"""Seconds after the server's own statement_timeout before its connection is given up as dead; and before the request's
deadline, to send the answer."""

RECYCLE = 240
"""Seconds after which a connection is replaced: Neon suspends, and cuts connections silently, after 300 idle ones."""

TRIES = 3
"""Runs of a statement that the server rolled back for a conflict, or whose answer was lost where that does no harm."""

SLOTS_VARIABLE = "TASKAPI_SLOTS"
"""Where gunicorn.conf.py leaves the descriptor of the file of the service's connection slots for its workers."""

seconds_spent: ContextVar[float] = ContextVar("seconds_spent", default=0.0)
"""Seconds that the current request has spent on the database, waiting for a connection included."""

_deadline: ContextVar[float] = ContextVar("deadline")


class Database:
    """The statements of sql/ on a pool of connections. One for each process."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError where DATABASE_URL is no URL, ValueError where sql/ is not in order."""
        libpq_url(settings)
        self._settings = settings
        self._statements = queries.load()
        self._limits = limits(settings)
        self._permits = FairSemaphore(settings.pool_size)
        descriptor = os.environ.get(SLOTS_VARIABLE)
        self._slots = Slots(int(descriptor), settings.db_connections) if descriptor else None
        self._draining = False
        self._pool = QueuePool(
            self._open,
            pool_size=settings.pool_size,
            # The permits are the limit. The pool's own miscounts what is taken while dispose() waits for a close().
            max_overflow=-1,
            use_lifo=True,
            recycle=RECYCLE,
            # Each statement is a transaction of its own: there is never anything to roll back.
            reset_on_return=None,
        )

    def run(self, name: str, parameters: Mapping[str, Any], *, repeatable: bool) -> tuple[Any, ...] | None:
        """Run the statement `name` as a transaction of its own; return its first row, None when it has none.

        `repeatable` says that running it again does no harm (a read, or a write with an idempotency key): then it is
        run again where the connection was lost before the answer came.

        Raises DatabaseUnavailable (in one of its kinds), IdempotencyKeyRaced; StatementFailed, which is a defect.
        """
        started = time.monotonic()
        token = _deadline.set(started + self._settings.request_deadline - GRACE)
        tries = TRIES
        try:
            while True:
                tries -= 1
                try:
                    return self._run_once(name, parameters)
                except _Conflict as conflict:
                    if not tries:
                        raise RolledBack from conflict
                except OutcomeUnknown:
                    if not repeatable or not tries or time.monotonic() >= _deadline.get():
                        raise
                    log.warning("%s: running it once more, which is safe", name)
        finally:
            _deadline.reset(token)
            seconds_spent.set(seconds_spent.get() + time.monotonic() - started)

    def drain(self) -> None:
        """Close idle connections, and each of the others when its statement is done: this worker is about to end."""
        self._draining = True
        self._pool.dispose()

    def _run_once(self, name: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        if not self._permits.acquire(min(self._settings.db_pool_timeout, _deadline.get() - time.monotonic())):
            log.warning("all %d database connections of this worker are busy", self._settings.pool_size)
            raise PoolBusy
        try:
            pooled = self._checkout()
            connection: Connection = pooled.dbapi_connection  # type: ignore[assignment]
            try:
                return self._send(name, parameters, connection)
            finally:
                if connection.closed or self._draining:
                    pooled.invalidate()
                pooled.close()
        finally:
            self._permits.release()

    def _send(self, name: str, parameters: Mapping[str, Any], connection: Connection) -> tuple[Any, ...] | None:
        connection.deadline = min(_deadline.get(), time.monotonic() + self._settings.db_statement_timeout + GRACE)
        cursor = connection.cursor()
        try:
            try:
                cursor.execute(self._text(name, connection), parameters)
            except UNPREPARED:
                # Refused before anything ran: the connection has other statements prepared than we believe.
                connection.prepared.clear()
                cursor.execute(self._text(name, connection), parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
        except (psycopg2.Error, DeadlinePassed) as error:
            # Not with its cause, whose details quote the row that was refused.
            raise _translated(error, connection, name) from None
        connection.prepared.add(name)
        return row

    def _text(self, name: str, connection: Connection) -> str:
        """What to send, in one message: the first EXECUTE of a connection goes behind its PREPARE."""
        statement = self._statements[name]
        if connection.behind_pooler:
            return self._limits + statement.text
        if not self._settings.db_prepare:
            return statement.text
        if name in connection.prepared:
            return statement.execute
        # A first EXECUTE that fails leaves its PREPARE behind: from nothing known to nothing there.
        begin = "" if connection.prepared else "DEALLOCATE ALL; "
        return f"{begin}{statement.prepare}; {statement.execute}"

    def _checkout(self) -> PoolProxiedConnection:
        """A live connection of the pool; opened, and opened again, within the time that the pool has."""
        give_up = min(_deadline.get(), time.monotonic() + self._settings.db_pool_timeout)
        while True:
            try:
                pooled = self._pool.connect()
                if pooled.dbapi_connection.is_alive():  # type: ignore[union-attr]
                    return pooled
                pooled.invalidate()
                pooled.close()
            except (psycopg2.Error, DeadlinePassed) as error:
                # Nothing was sent yet, so that another try is safe; a server that restarts is back in a moment.
                if time.monotonic() + CONNECT_PAUSE >= give_up:
                    log.warning("cannot connect to the database: %s", without_password(error, self._settings))
                    raise ConnectFailed from error
                time.sleep(CONNECT_PAUSE)

    def _open(self) -> Connection:
        now = time.monotonic()
        deadline = min(_deadline.get(), now + CONNECT_TIMEOUT)
        if self._slots is None:
            return connect(self._settings, deadline=deadline)
        slot = self._slots.take(min(self._settings.db_pool_timeout, deadline - now))
        if slot is None:
            log.warning("all %d database connections of the service are taken", self._settings.db_connections)
            raise PoolBusy
        return connect(self._settings, deadline=deadline, on_close=partial(self._slots.free, slot))


class _Conflict(Exception):
    """Rolled back by the server for another transaction, which another run need not meet."""


CONFLICTS = {"40001", "40P01"}
"""serialization_failure, deadlock_detected."""

UNPREPARED = (InvalidSqlStatementName, FeatureNotSupported, DuplicatePreparedStatement)
"""Not prepared; "cached plan must not change result type", after a migration; prepared already."""

SCHEMA_CODES = {"42P01", "42703", "42883", "3F000"}
"""No such table, column, function, schema."""

REFUSALS = ("55P03", "57014", "53", "58", "25006", "XX")
"""A lock not given in time; a statement that took too long; resources, disk and system errors; a read-only standby."""

CUTS = ("57P", "08")
"""The server, or the way to it, is ending."""


def _translated(error: Exception, connection: Connection, name: str) -> Exception:
    """Our error for the driver's. An ERROR of the server rolled everything back; a lost connection tells nothing.

    The classes are those of Postgres' manual, appendix A.
    """
    code: str | None = getattr(error, "pgcode", None)
    if code is None or connection.closed or code.startswith(CUTS):
        late = isinstance(error, DeadlinePassed)
        log.warning("%s: the database %s", name, "did not answer in time" if late else "cut the connection")
        return OutcomeUnknown()
    if code in CONFLICTS:
        return _Conflict()
    if code in SCHEMA_CODES:
        log.error("%s: the database's schema is not this version's: %s", name, str(error).splitlines()[0])
        return SchemaMismatch()
    if code.startswith(REFUSALS):
        log.warning("%s: the database refused: %s", name, str(error).splitlines()[0])
        return RolledBack()
    if code == "23505" and error.diag.constraint_name == "task_history_idempotency_key":  # type: ignore[attr-defined]
        return IdempotencyKeyRaced()
    return StatementFailed(f"{name}: {code} {error.diag.message_primary}")  # type: ignore[attr-defined]
