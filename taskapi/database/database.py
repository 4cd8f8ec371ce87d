"""Runs one statement: takes a connection from the pool, keeps the deadline, and translates the driver's errors."""

import logging
import math
import random
import re
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import psycopg2
from psycopg2.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from sqlalchemy.pool import PoolProxiedConnection

from taskapi.database import queries
from taskapi.database.connection import Connection, connect, limits
from taskapi.database.database_url import libpq_url, without_password
from taskapi.database.semaphore import FairSemaphore
from taskapi.database.servers import DeadlinePassed
from taskapi.database.slots import Slots
from taskapi.database.stack import Stack
from taskapi.deadline import deadline, seconds_spent
from taskapi.errors import (
    Conflict,
    ConnectFailed,
    DatabaseUnavailable,
    NoTimeLeft,
    OutcomeUnknown,
    PoolBusy,
    ReadOnly,
    RolledBack,
    SchemaMismatch,
    StatementFailed,
)
from taskapi.settings import Settings

log = logging.getLogger("taskapi.database")

CONNECT_TIMEOUT = 10.0
"""Seconds for opening one connection: Neon needs up to ten to wake up."""

CONNECT_PAUSE = 0.1
"""Seconds between two tries to connect."""

CONNECT_RETRY = 1.0
"""Seconds after which one more request tries to connect, of those that wait because none can."""

GRACE = 1.0
"""Seconds, at most, between the server's own time limits and ours, so that its answer comes before we give it up as
dead; and between ours and the request's deadline, to send the answer."""

RECYCLE = 240
"""Seconds after which a connection is replaced: Neon suspends, and cuts connections silently, after 300 idle ones."""

RUNS = 3
"""Runs of a statement whose answer was lost, where running it again does no harm."""

PAUSE, LONGEST_PAUSE = 0.01, 0.5
"""Seconds before another run of what was rolled back: up to the first, doubled each time, up to the second; by chance,
so that those who met do not meet again."""

REPLACEMENT_PAUSE = 1.0
"""Seconds between two replacements of the pool: a database that stays read-only is not flooded with new connections."""

LARGE = 8 * 1024 * 1024
"""Bytes of one value after which a connection is replaced: libpq never gives back the memory that it received it in."""


class Database:
    """The statements of sql/ on a pool of connections. One for each process."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError where DATABASE_URL is no URL, ValueError where sql/ is not in order."""
        libpq_url(settings)
        self._settings = settings
        self._statements = queries.load()
        # Short deadlines have a short one.
        self._grace = min(GRACE, settings.request_deadline / 10)
        self._permits = FairSemaphore(settings.pool_size)
        self._slots = None if settings.slots is None else Slots(settings.slots, settings.db_connections)
        self._draining = False
        self._replacing = threading.Lock()
        self._replaced = -math.inf
        self._pool = Stack(
            self._open,
            recycle=RECYCLE,
            # Each statement is a transaction of its own: there is never anything to roll back.
            reset_on_return=None,
        )
        if self._slots:
            threading.Thread(target=self._share, daemon=True).start()

    def run(self, name: str, parameters: Mapping[str, Any], *, repeatable: bool) -> tuple[Any, ...] | None:
        """Run the statement `name` as a transaction of its own; return its first row, None when it has none.

        `repeatable` says that running it again does no harm (a read, or a write with an idempotency key): then it is
        run again where the connection was lost before the answer came. What wrote nothing, because another transaction
        came in between or the server takes no writes, is run again in any case. All of it together ends by the
        request's `deadline`, and within REQUEST_DEADLINE.

        Raises DatabaseUnavailable in one of its kinds: OutcomeUnknown whenever one of the runs may have written.
        Raises StatementFailed, which is a defect.
        """
        started = time.monotonic()
        token = deadline.set(min(deadline.get(), started + self._settings.request_deadline))
        unknown: OutcomeUnknown | None = None
        lost = conflicts = 0
        try:
            while True:
                try:
                    return self._run_once(name, parameters)
                except OutcomeUnknown as error:
                    unknown = error
                    lost += 1
                    if not repeatable or lost == RUNS or self._left() <= 0:
                        raise
                    log.warning("%s: running it once more, which is safe", name)
                except (Conflict, ReadOnly):
                    pause = random.uniform(0, min(PAUSE * 2 ** min(conflicts, 10), LONGEST_PAUSE))  # noqa: S311
                    conflicts += 1
                    if pause >= self._left():
                        raise
                    time.sleep(pause)
        except DatabaseUnavailable as error:
            # What became of an earlier run is no better known for the failure of this one.
            if unknown and error is not unknown:
                raise unknown from error
            raise
        finally:
            deadline.reset(token)
            seconds_spent.set(seconds_spent.get() + time.monotonic() - started)

    def drain(self) -> None:
        """Close idle connections, and each of the others when its statement is done: this worker is about to end."""
        self._draining = True
        self._pool.dispose()

    def _left(self) -> float:
        """Seconds that are left of the current request for the server, and for the ways to it: its answer and ours have
        some of their own."""
        return deadline.get() - 2 * self._grace - time.monotonic()

    def _run_once(self, name: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        if self._left() <= 0:
            raise NoTimeLeft
        pool, pooled = self._checkout()
        try:
            connection: Connection = pooled.dbapi_connection  # type: ignore[assignment]
            keeps = True
            try:
                row = self._send(name, parameters, connection)
                keeps = row is None or not any(type(value) is bytes and len(value) > LARGE for value in row)
                return row
            except (OutcomeUnknown, SchemaMismatch):
                # Even if it is open: what comes next on it may be this statement's, and what its session remembers of
                # the schema is not so any more.
                keeps = False
                raise
            except ReadOnly:
                connection.is_read_only = True
                raise
            finally:
                if connection.is_read_only:
                    self._replace(pool)
                if connection.closed or self._draining or not keeps or pool is not self._pool:
                    pooled.invalidate()
                pooled.close()
        finally:
            self._permits.release()

    def _replace(self, pool: Stack) -> None:
        """Leave all connections of the pool, the caller's too: their server takes no writes, and need not be the one
        that serves now. Those that were opened a moment ago stay a moment longer."""
        with self._replacing:
            now = time.monotonic()
            if pool is not self._pool or now - self._replaced < REPLACEMENT_PAUSE:
                return
            self._pool, self._replaced = pool.recreate(), now
        log.warning("the database takes no writes: new connections from now on")
        pool.dispose()

    def _send(self, name: str, parameters: Mapping[str, Any], connection: Connection) -> tuple[Any, ...] | None:
        seconds = min(self._settings.db_statement_timeout, self._left())
        if seconds <= 0:
            raise NoTimeLeft
        connection.deadline = time.monotonic() + seconds + self._grace
        cursor = connection.cursor()
        try:
            try:
                cursor.execute(self._text(name, connection, seconds), parameters)
            except UNPREPARED:
                # Refused before anything ran: the connection has other statements prepared than we believe.
                connection.prepared.clear()
                cursor.execute(self._text(name, connection, seconds), parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
        except (psycopg2.Error, DeadlinePassed) as error:
            # Not with its cause, whose details quote the row that was refused.
            raise _translate(error, connection, name) from None
        connection.prepared.add(name)
        if row and row[0] == RACED:
            raise Conflict
        return row

    def _text(self, name: str, connection: Connection, seconds: float) -> str:
        """What to send, in one message: the first EXECUTE of a connection goes behind its PREPARE.

        Where less than the usual time is left, the statement carries a shorter limit: the server gives up before we do,
        and says that nothing was written.
        """
        statement = self._statements[name]
        limit = limits(self._settings, seconds) if seconds < self._settings.db_statement_timeout else ""
        if connection.behind_pooler:
            return connection.before + limit + statement.text
        if not self._settings.db_prepare:
            return limit + statement.text
        if name in connection.prepared:
            return limit + statement.execute
        # A first EXECUTE that fails leaves its PREPARE behind: from nothing known to nothing there.
        begin = "" if connection.prepared else "DEALLOCATE ALL; "
        return f"{limit}{begin}{statement.prepare}; {statement.execute}"

    def _checkout(self) -> tuple[Stack, PoolProxiedConnection]:
        """A permit, and a live connection of the pool: one that is there, or one that is opened.

        Where none can be opened, one request goes on trying, and the others wait in line for those that there are:
        a server, a role or a database may allow fewer than DB_CONNECTIONS.
        """
        give_up = time.monotonic() + min(self._settings.db_pool_timeout, self._left())
        failure: Exception | None = None
        while self._permits.acquire(give_up - time.monotonic()):
            try:
                return self._connected()
            except (psycopg2.Error, DeadlinePassed, _NoSlot) as error:
                # Nothing was sent yet, so that another try is safe; a server that restarts is back in a moment.
                failure = error
                is_last = time.monotonic() + CONNECT_PAUSE >= give_up
                if not self._permits.withhold(CONNECT_RETRY):
                    # So this worker has no connection at all.
                    if self._slots and TOO_MANY.search(str(error)):
                        self._slots.call()
                    if not is_last:
                        time.sleep(CONNECT_PAUSE)
                    self._permits.release()
                if is_last:
                    break
            except BaseException:
                self._permits.release()
                raise
        if failure is None:
            log.warning("all %d database connections of this worker are busy", self._settings.pool_size)
            raise PoolBusy
        if isinstance(failure, _NoSlot):
            log.warning("all %d database connections of the service are taken", self._settings.db_connections)
            raise PoolBusy
        log.warning("cannot connect to the database: %s", without_password(failure, self._settings))
        raise ConnectFailed from failure

    def _connected(self) -> tuple[Stack, PoolProxiedConnection]:
        pool = self._pool
        while True:
            pooled = pool.connect()
            if pooled.dbapi_connection.is_alive():  # type: ignore[union-attr]
                return pool, pooled
            pooled.invalidate()
            pooled.close()

    def _open(self) -> Connection:
        give_up = time.monotonic() + min(self._left(), CONNECT_TIMEOUT)
        slot = self._slots.take(CONNECT_PAUSE) if self._slots else None
        if self._slots and slot is None:
            raise _NoSlot
        on_close = partial(self._slots.free, slot) if self._slots and slot is not None else None
        connection = connect(self._settings, deadline=give_up, on_close=on_close)
        # Servers tell it by themselves, since PostgreSQL 14; a pooler may keep it to itself.
        status = connection.get_parameter_status
        connection.is_read_only = "on" in (status("in_hot_standby"), status("default_transaction_read_only"))
        # The server takes connections again: those who wait in line may try, too.
        self._permits.restore()
        return connection

    def _share(self) -> None:
        """Leave a connection to another worker that has none and can open none, one a second."""
        while not self._draining:
            time.sleep(CONNECT_RETRY)
            if self._slots and self._slots.is_called() and self._permits.acquire(CONNECT_RETRY):
                try:
                    if self._pool.has_idle():
                        pooled = self._pool.connect()
                        pooled.invalidate()
                        pooled.close()
                except Exception as error:  # noqa: BLE001  # The thread goes on: nobody else would do this.
                    log.warning(
                        "cannot leave a connection to another worker: %s", without_password(error, self._settings)
                    )
                finally:
                    # Nor is another one opened here in its place, before the other worker has tried.
                    if not self._permits.withhold(CONNECT_RETRY):
                        self._permits.release()


class _NoSlot(Exception):
    """Every connection of the service is taken, by this worker and the others."""


TOO_MANY = re.compile("too many|connection slots|no more connections")
"""How PostgreSQL (53300) and PgBouncer refuse a connection beyond what they allow; its code does not come this far."""

RACED = b"raced"
"""What a statement of sql/ answers that found nothing to do, because the same request was done meanwhile."""

CONFLICTS = {"40001", "40P01"}
"""serialization_failure, deadlock_detected."""

READ_ONLY = "25006"
"""read_only_sql_transaction: a standby, or default_transaction_read_only."""

UNPREPARED = (InvalidSqlStatementName, FeatureNotSupported, DuplicatePreparedStatement)
"""Not prepared; "cached plan must not change result type", after a migration; prepared already."""

SCHEMA_CODES = {"42P01", "42703", "42883", "3F000", "42804"}
"""No such table, column, function, schema; a column of another type than a trigger remembers."""

REFUSALS = ("55P03", "57014", "42501", "53", "58", "XX")
"""A lock not given in time; a statement that took too long; a right that the role has not; resources, disk and system
errors."""

CUTS = ("57P", "08")
"""The server, or the way to it, is ending."""

LONGEST_REASON = 500
"""Characters of the server's message that are logged. A trigger may raise one of any length."""


def _translate(error: Exception, connection: Connection, name: str) -> Exception:
    """Our error for the driver's. An ERROR of the server rolled everything back; a lost connection tells nothing.

    The classes are those of Postgres' manual, appendix A.
    """
    code: str | None = getattr(error, "pgcode", None)
    if code is None or connection.closed or code.startswith(CUTS):
        late = isinstance(error, DeadlinePassed)
        log.warning("%s: the database %s", name, "did not answer in time" if late else "cut the connection")
        return OutcomeUnknown()
    if code == READ_ONLY:
        return ReadOnly()
    if code in CONFLICTS:
        return Conflict()
    if code in SCHEMA_CODES:
        log.error("%s: the database's schema is not this version's: %s", name, _reason(error))
        return SchemaMismatch()
    if code.startswith(REFUSALS):
        log.warning("%s: the database refused: %s", name, _reason(error))
        return RolledBack()
    if code == "23505" and error.diag.constraint_name == "task_history_idempotency_key":  # type: ignore[attr-defined]
        return Conflict()
    return StatementFailed(f"{name}: {code} {_reason(error)}")


def _reason(error: Exception) -> str:
    """The first line of the server's message, without its details, which quote rows."""
    message: str = error.diag.message_primary or ""  # type: ignore[attr-defined]
    return message.partition("\n")[0][:LONGEST_REASON]
