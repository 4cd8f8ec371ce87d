"""Runs one statement: takes a connection from the pool, keeps the deadline, and translates the driver's errors."""

import errno
import logging
import math
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import psycopg2
from psycopg2.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from sqlalchemy.pool import PoolProxiedConnection

from taskapi.database import queries
from taskapi.database.connection import OWN_PLAN, Connection, connect, limits
from taskapi.database.database_url import libpq_url, without_password
from taskapi.database.semaphore import FairSemaphore
from taskapi.database.servers import (
    DeadlinePassed,
    NoSlot,
    Server,
    is_primary,
    is_silent,
    number,
    remember_silence,
)
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
    TimeUp,
)
from taskapi.settings import Settings

log = logging.getLogger("taskapi.database")

CONNECT_TIMEOUT = 10.0
"""Seconds for opening one connection: Neon needs up to ten to wake up."""

CONNECT_PAUSE = 0.1
"""Seconds between two tries to connect."""

CONNECT_RETRY = 1.0
"""Seconds after which one more waiting request tries to connect, while connecting fails."""

GRACE = 1.0
"""Seconds, at most, between the server's time limits and ours, so that its answer comes before we give up. The same
time is between our limits and the request's deadline, to send the answer."""

RECYCLE = 240
"""Seconds after which a connection is replaced. Neon cuts connections silently after 300 idle seconds."""

RUNS = 3
"""How often a statement runs if its answer is lost and running it again does no harm."""

PAUSE, LONGEST_PAUSE = 0.01, 0.5
"""Seconds before a rolled-back statement runs again: random, up to the first value, which doubles each time up to the
second. So two statements that collided do not collide again."""

REPLACEMENT_PAUSE = 1.0
"""Seconds between two replacements of the pool, so that a database in trouble is not flooded with new connections."""

LARGE = 8 * 1024 * 1024
"""Bytes of one value after which a connection is replaced: libpq never frees the memory of a received value."""


class Database:
    """The statements of sql/ on a pool of connections. One for each process."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError if DATABASE_URL is not a URL, ValueError if sql/ has a mistake."""
        libpq_url(settings)
        self._settings = settings
        self._statements = queries.load()
        # Shorter for short deadlines.
        self._grace = min(GRACE, settings.request_deadline / 10)
        self._permits = FairSemaphore(settings.pool_size)
        self._slots = None if settings.slots is None else Slots(settings.slots, settings.db_connections)
        self._draining = False
        self._replacing = threading.Lock()
        self._replaced = -math.inf
        self._pool = Stack(
            self._open,
            recycle=RECYCLE,
            # Each statement is its own transaction, so there is never anything to roll back.
            reset_on_return=None,
        )
        if self._slots:
            threading.Thread(target=self._share, daemon=True).start()

    def run(
        self, name: str, parameters: Mapping[str, Any], *, repeatable: bool, once: bool = False, own_plan: bool = False
    ) -> tuple[Any, ...] | None:
        """Run the statement `name` as its own transaction. Return its first row, or None.

        `repeatable`: running the statement again does no harm (a read, or a write with an idempotency key). Then it
        runs again if the connection was lost before the answer came. If another transaction interfered, or the server
        takes no writes, nothing was written, and the statement always runs again. All runs together end by the
        request's `deadline`, and within REQUEST_DEADLINE. With `once`, it never runs again. With `own_plan`, Postgres
        makes a plan for these arguments.

        Raises a subclass of DatabaseUnavailable: OutcomeUnknown if any of the runs may have written. Raises
        StatementFailed for a defect.
        """
        started = time.monotonic()
        token = deadline.set(min(deadline.get(), started + self._settings.request_deadline))
        unknown: OutcomeUnknown | None = None
        lost = conflicts = 0
        try:
            while True:
                try:
                    return self._run_once(name, parameters, own_plan)
                except OutcomeUnknown as error:
                    unknown = error
                    lost += 1
                    if once or not repeatable or lost == RUNS or self._left() <= 0:
                        raise
                    log.warning("%s: running it once more, which is safe", name)
                except (Conflict, ReadOnly):
                    pause = random.uniform(0, min(PAUSE * 2 ** min(conflicts, 10), LONGEST_PAUSE))  # noqa: S311
                    conflicts += 1
                    if once or pause >= self._left():
                        raise
                    time.sleep(pause)
        except DatabaseUnavailable as error:
            # The failure of this run does not settle the outcome of an earlier one.
            if unknown and error is not unknown:
                raise unknown from error
            raise
        finally:
            deadline.reset(token)
            seconds_spent.set(seconds_spent.get() + time.monotonic() - started)

    def drain(self) -> None:
        """Close idle connections now, and the others when their statements end: this worker is about to end.

        One stays, for the requests that still come: other workers may have taken all that became free.
        """
        self._draining = True
        self._pool.shrink(1)

    def _left(self) -> float:
        """Seconds of the current request that are left for the server and the network. Its answer and ours have extra
        time."""
        return deadline.get() - 2 * self._grace - time.monotonic()

    def _run_once(self, name: str, parameters: Mapping[str, Any], own_plan: bool) -> tuple[Any, ...] | None:
        if self._left() <= 0:
            raise NoTimeLeft
        pool, pooled = self._checkout()
        try:
            connection: Connection = pooled.dbapi_connection  # type: ignore[assignment]
            keeps = True
            try:
                row = self._send(name, parameters, connection, own_plan)
                keeps = row is None or not any(type(value) is bytes and len(value) > LARGE for value in row)
                return row
            except (OutcomeUnknown, SchemaMismatch):
                # Even if it is open: the next data on it may be this statement's answer, or its session may remember an
                # old schema.
                keeps = False
                if is_silent(connection.server):
                    self._replace(pool, "is silent")
                raise
            except ReadOnly:
                connection.has_refused = True
                raise
            finally:
                if connection.is_read_only:
                    self._replace(pool, "takes no writes")
                is_spare = self._draining and pool.has_idle()
                if connection.closed or is_spare or not keeps or pool is not self._pool:
                    pooled.invalidate()
                pooled.close()
        finally:
            self._permits.release()

    def _replace(self, pool: Stack, reason: str) -> None:
        """Replace the pool and all its connections, including the caller's: their server takes no writes, or is silent,
        and another server may be the primary now. A pool that was just replaced stays a moment longer."""
        with self._replacing:
            now = time.monotonic()
            if pool is not self._pool or now - self._replaced < REPLACEMENT_PAUSE:
                return
            self._pool, self._replaced = pool.recreate(), now
        log.warning("the database %s: new connections from now on", reason)
        pool.dispose()

    def _send(
        self, name: str, parameters: Mapping[str, Any], connection: Connection, own_plan: bool
    ) -> tuple[Any, ...] | None:
        seconds = min(self._settings.db_statement_timeout, self._left())
        if seconds <= 0:
            raise NoTimeLeft
        connection.deadline = time.monotonic() + seconds + self._grace
        cursor = connection.cursor()
        try:
            try:
                cursor.execute(self._text(name, connection, seconds, own_plan), parameters)
            except UNPREPARED:
                # The server refused before anything ran: the connection's prepared statements are not what we expect.
                connection.prepared.clear()
                cursor.execute(self._text(name, connection, seconds, own_plan), parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
        except (psycopg2.Error, DeadlinePassed) as error:
            if is_primary(connection.server) and (isinstance(error, DeadlinePassed) or NO_ANSWER in str(error)):
                remember_silence(connection.server)
            # Without the cause, whose details quote the refused row.
            raise _translate(error, connection, name) from None
        connection.prepared.add(name)
        if row and row[0] == RACED:
            raise Conflict
        return row

    def _text(self, name: str, connection: Connection, seconds: float, own_plan: bool) -> str:
        """The message to send: on a connection, the first EXECUTE of a statement follows its PREPARE.

        Where less than the usual time is left, the statement carries a shorter limit: the server gives up before we do,
        and says that nothing was written.
        """
        statement = self._statements[name]
        limit = limits(self._settings, seconds) if seconds < self._settings.db_statement_timeout else ""
        if own_plan:
            limit += OWN_PLAN
        if "owner" in statement.parameters:
            limit += FOR_OWNER
        if connection.behind_pooler:
            return connection.before + limit + statement.text
        if not self._settings.db_prepare:
            return limit + statement.text
        if name in connection.prepared:
            return limit + statement.execute
        # A failed first EXECUTE leaves its PREPARE behind. If we know of no prepared statement, remove all.
        begin = "" if connection.prepared else "DEALLOCATE ALL; "
        return f"{limit}{begin}{statement.prepare}; {statement.execute}"

    def _checkout(self) -> tuple[Stack, PoolProxiedConnection]:
        """Take a permit and a live connection of the pool: an idle or a new one.

        If no connection can be opened, one request keeps trying, and the others wait in line for existing connections:
        a server, a role or a database may allow fewer than DB_CONNECTIONS.
        """
        give_up = time.monotonic() + min(self._settings.db_pool_timeout, self._left())
        failure: Exception | None = None
        while self._permits.acquire(give_up - time.monotonic()):
            try:
                return self._connected()
            except (psycopg2.Error, DeadlinePassed, NoSlot) as error:
                # Nothing was sent yet, so another try is safe. A server that restarts is back in a moment.
                failure = error
                is_last = time.monotonic() + CONNECT_PAUSE >= give_up
                if not self._permits.withhold(CONNECT_RETRY):
                    # This worker has no connection at all.
                    if self._slots and (isinstance(error, NoSlot) or TOO_MANY.search(str(error))):
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
        if isinstance(failure, NoSlot):
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
        connection = connect(self._settings, deadline=give_up, count=self._take_slot)
        # The server takes connections again: those who wait in line may try, too.
        self._permits.restore()
        return connection

    def _take_slot(self, server: Server) -> Callable[[], None] | None:
        """Take a slot of the server. Return what gives it back. Raises NoSlot."""
        if not self._slots:
            return None
        # By its host: several addresses of one, such as a pooler's, may lead to the same server.
        slot = self._slots.take(CONNECT_PAUSE, number(libpq_url(self._settings), server))
        if slot is None:
            raise NoSlot
        return partial(self._slots.free, slot)

    def _share(self) -> None:
        """Give up one connection a second for workers that have none and cannot open one."""
        while not self._draining:
            time.sleep(CONNECT_RETRY)
            if self._slots and self._slots.is_called() and self._permits.acquire(CONNECT_RETRY):
                try:
                    if self._pool.has_idle():
                        pooled = self._pool.connect()
                        pooled.invalidate()
                        pooled.close()
                except Exception as error:  # noqa: BLE001  # The thread must go on.
                    log.warning(
                        "cannot leave a connection to another worker: %s", without_password(error, self._settings)
                    )
                finally:
                    # Open no other connection here until the other worker has tried.
                    if not self._permits.withhold(CONNECT_RETRY):
                        self._permits.release()


FOR_OWNER = "SET LOCAL app.owner = %(owner)s; "
"""The SQL that lets row-level security show the rows of one owner, until the statement's transaction ends."""


NO_ANSWER = os.strerror(errno.ETIMEDOUT)
"""How the kernel says that the network has swallowed all (tcp_user_timeout), a moment before our own deadline."""

TOO_MANY = re.compile("too many|connection slots|no more connections")
"""How PostgreSQL (53300) and PgBouncer refuse too many connections. The error's code is lost before it gets here."""

RACED = b"raced"
"""The answer of a statement that must run again, because the same request may have been done in the meantime."""

CONFLICTS = {"40001", "40P01"}
"""serialization_failure, deadlock_detected."""

MET = {"task_history_idempotency_key", "tasks_pkey", "task_history_pkey"}
"""The unique keys at which two requests meet: with the same Idempotency-Key, or with the same deleted task to restore,
which has no row to lock. The second one runs again, and finds what the first one has done."""

READ_ONLY = "25006"
"""read_only_sql_transaction: a standby, or default_transaction_read_only."""

UNPREPARED = (InvalidSqlStatementName, FeatureNotSupported, DuplicatePreparedStatement)
"""Not prepared; "cached plan must not change result type", after a migration; already prepared."""

SCHEMA_CODES = {"42P01", "42703", "42883", "3F000", "42804"}
"""No such table, column, function, schema; a column of another type than a trigger remembers."""

TIME_UP = "57014"
"""query_canceled: by the statement timeout, or by a person."""

REFUSALS = ("55P03", "42501", "53", "58", "XX")
"""A lock timeout; a right that the role lacks; resources, disk and system errors."""

CUTS = ("57P", "08")
"""The server is shutting down, or the connection is lost."""

LONGEST_REASON = 500
"""How many characters of the server's message are logged. A trigger may raise a message of any length."""


def _translate(error: Exception, connection: Connection, name: str) -> Exception:
    """Our error for the driver's. After an ERROR of the server, everything was rolled back. After a lost connection,
    the outcome is unknown. The classes of codes are in Postgres' manual, appendix A.
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
    if code == TIME_UP or code.startswith(REFUSALS):
        log.warning("%s: the database refused: %s", name, _reason(error))
        return TimeUp() if code == TIME_UP else RolledBack()
    if code == "23505" and error.diag.constraint_name in MET:  # type: ignore[attr-defined]
        return Conflict()
    return StatementFailed(f"{name}: {code} {_reason(error)}")


def _reason(error: Exception) -> str:
    """The first line of the server's message, without its details, which quote rows."""
    message: str = error.diag.message_primary or ""  # type: ignore[attr-defined]
    return message.partition("\n")[0][:LONGEST_REASON]
