"""A psycopg2 connection that never waits past its deadline, and knows what it may send to its server."""

import math
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from select import POLLIN, poll  # by name: gevent puts a slower poll() into the module

import psycopg2
import psycopg2.extensions as ext

from taskapi.database_url import libpq_url
from taskapi.settings import Settings


class DeadlinePassed(Exception):
    """The server did not answer before the connection's deadline."""


class Connection(ext.connection):
    """A connection with a deadline, the statements prepared on it, and whether a pooler stands before its server.

    `deadline` is a time.monotonic() in seconds. `on_close` runs once, when the connection is gone. `is_read_only` says
    whether the server took no writes when the connection was opened.
    """

    is_read_only = False

    def __init__(self, dsn: str, async_: int = 0, *, deadline: float, on_close: Callable[[], None]) -> None:
        self.deadline = deadline
        self.prepared: set[str] = set()
        self.behind_pooler = False
        self._on_close: Callable[[], None] | None = on_close
        super().__init__(dsn, async_)
        self._poller = poll()
        self._poller.register(self.fileno(), POLLIN)

    def is_alive(self) -> bool:
        """Whether the server has not closed the connection, as far as this machine knows: no round trip."""
        if self.closed:
            return False
        if not self._poller.poll(0):
            return True
        try:
            # Something has come: the first poll may read the server's last words, the second its end.
            return self.poll() == self.poll() == ext.POLL_OK  # type: ignore[no-any-return]
        except psycopg2.Error:
            return False

    def close(self) -> None:
        """Close, and wait (a second at most) until the server has let the connection go.

        Whoever counts connections at the server must not see the next one before this one is gone.
        """
        duplicate = os.dup(self.fileno()) if self.is_alive() else None
        super().close()
        if duplicate is not None:
            with socket.socket(fileno=duplicate) as ending:
                ending.settimeout(1.0)
                try:
                    while ending.recv(4096):
                        pass
                except OSError:
                    pass
        on_close, self._on_close = self._on_close, None
        if on_close:
            on_close()


def poll_socket(descriptor: int, writing: bool, timeout: float | None) -> bool:
    """Wait up to `timeout` seconds (None: for ever) until the socket can be read, or written; return whether it can."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    return bool(poller.poll(None if timeout is None else timeout * 1000))


wait_for_socket = poll_socket
"""How this process waits. A gevent worker puts its own way here."""


def _wait(connection: Connection) -> None:
    """psycopg2's wait callback: return when the answer is there, raise DeadlinePassed when it is late.

    The sockets' own timeouts do not do this: a stopped server keeps its TCP connection alive.
    """
    # The callback is the whole process's: the connections of others, such as a migration's, have no deadline.
    deadline: float | None = getattr(connection, "deadline", None)
    while (state := connection.poll()) != ext.POLL_OK:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not wait_for_socket(connection.fileno(), state == ext.POLL_WRITE, timeout):
            # psycopg2 closes a connection whose callback raises: no late answer is taken for the next one's.
            raise DeadlinePassed("the server did not answer in time")


def connect(settings: Settings, *, deadline: float, on_close: Callable[[], None] = lambda: None) -> Connection:
    """Open a connection to the database by `deadline`, with the session settings that every statement relies on.

    Behind a transaction-mode pooler a session setting would leak to other clients: there, nothing is set, and
    READ_COMMITTED and `limits()` go with each statement instead. A pooler gives itself away by the process id: the one
    from the handshake is its own, the one that the server tells is the server's.

    Raises psycopg2.Error when the server refuses or cannot be reached, DeadlinePassed when it does not answer; then,
    too, `on_close` has run.
    """
    ext.set_wait_callback(_wait)
    try:
        connection: Connection = psycopg2.connect(
            libpq_url(settings),
            connection_factory=partial(Connection, deadline=deadline, on_close=on_close),
            client_encoding="utf8",
            application_name="taskapi",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
    except BaseException:
        on_close()
        raise
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), current_setting('server_encoding')")
            backend_pid, encoding = cursor.fetchone()
            if encoding != "UTF8":
                raise psycopg2.OperationalError(f"the database's encoding is {encoding}; taskapi needs UTF8")
            connection.behind_pooler = backend_pid != connection.info.backend_pid
            if not connection.behind_pooler:
                cursor.execute(
                    "SET jit = off; SET default_transaction_isolation = 'read committed';"
                    f" {limits(settings).replace('SET LOCAL', 'SET')}"
                )
        # Answers are JSON text in UTF-8 already: to decode it would only mean to encode it again.
        ext.register_type(ext.BYTES, connection)
    except BaseException:
        connection.close()
        raise
    return connection


READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
"""The SQL for a transaction whose session may have another default. The statements take locks, and are written for this
level: on a higher one, whoever waited for a lock fails with 40001 (PostgreSQL's manual, 13.2)."""


def limits(settings: Settings, longest: float = math.inf) -> str:
    """The SQL that makes the server give up in time, in `longest` seconds at most, for the transaction it stands in."""
    return (
        f"SET LOCAL lock_timeout = {milliseconds(min(settings.db_lock_timeout, longest))};"
        f" SET LOCAL statement_timeout = {milliseconds(min(settings.db_statement_timeout, longest))};"
    )


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, one at the least: Postgres takes 0 for no limit."""
    return max(1, round(seconds * 1000))
