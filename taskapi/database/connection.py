"""A psycopg2 connection that never waits past its deadline."""

import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from select import POLLIN, poll  # imported by name: gevent patches a slower poll() into the module

import psycopg2
import psycopg2.extensions as ext

from taskapi.database import servers
from taskapi.database.database_url import libpq_url
from taskapi.database.servers import DeadlinePassed, Server
from taskapi.settings import Settings

LET_GO = 120.0
"""Seconds for which a connection counts if its server does not close it. After that, the service
prefers one connection too many to none."""


Wait = Callable[[bool, float], bool]
"""Waits until a socket can be read (True: written), or until a time.monotonic(). Returns whether it can."""


class Connection(ext.connection):
    """A connection with a deadline, its prepared statements, and whether it leads to a pooler.

    `deadline` is a time.monotonic() in seconds. `wait` waits for the open connection. Behind a pooler, `before` is the
    SQL to send before each statement. `on_close`, if it is set, runs once: when the server has closed the connection,
    or after LET_GO seconds. `has_refused` says whether the server has refused to write.
    """

    has_refused = False
    server = Server()

    def __init__(self, dsn: str, async_: int = 0, *, deadline: float) -> None:
        self.deadline = deadline
        self.wait: Wait | None = None
        self.prepared: set[str] = set()
        self.behind_pooler = False
        self.before = ""
        self.on_close: Callable[[], None] | None = None
        self._silent: socket.socket | None = None
        super().__init__(dsn, async_)
        self._poller = poll()
        self._poller.register(self.fileno(), POLLIN)

    def is_alive(self) -> bool:
        """Whether the connection is still open, as far as this machine knows. Makes no round trip."""
        if self.closed:
            return False
        if not self._poller.poll(0):
            return True
        try:
            # Data has arrived: the first poll may read the server's last message, the second the end.
            return self.poll() == self.poll() == ext.POLL_OK  # type: ignore[no-any-return]
        except psycopg2.Error:
            return False

    @property
    def is_read_only(self) -> bool:
        """Whether the server takes no writes, as far as it has said. It tells by itself, but a pooler may not."""
        status = self.get_parameter_status
        return self.has_refused or (
            not self.closed and "on" in (status("in_hot_standby"), status("default_transaction_read_only"))
        )

    def give_up(self) -> None:
        """Keep the socket of a connection whose server is silent, for close(), before psycopg2 closes it."""
        if self.on_close and not self._silent:
            self._silent = socket.socket(fileno=os.dup(self.fileno()))

    def close(self) -> None:
        """Close, and wait until the server has closed its end: up to a second here, then in a thread.

        The server must not count the next connection before this one is gone. If it is silent, it is not waited for.
        """
        ending = self._silent
        if self.is_alive():
            ending = socket.socket(fileno=os.dup(self.fileno()))
        super().close()
        on_close, self.on_close = self.on_close, None
        patience = 0.0 if self._silent or servers.is_silent(self.server) else 1.0
        self._silent = None
        if ending and not _has_ended(ending, patience) and on_close:
            threading.Thread(target=_outlast, args=(ending, on_close), daemon=True).start()
            return
        if ending:
            ending.close()
        if on_close:
            on_close()


def _outlast(ending: socket.socket, on_close: Callable[[], None]) -> None:
    with ending:
        _has_ended(ending, LET_GO)
    on_close()


def _has_ended(ending: socket.socket, timeout: float) -> bool:
    """Whether the server closes its end of a connection that we have closed, within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    try:
        # psycopg2's own close() does not tell the server while this copy of the socket is open.
        ending.shutdown(socket.SHUT_WR)
        while True:
            ending.settimeout(max(0.001, deadline - time.monotonic()))
            if not ending.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True


def poll_socket(descriptor: int) -> Wait:
    """Waits that block the whole thread."""
    poller = select.poll()

    def wait(writing: bool, deadline: float) -> bool:
        poller.register(descriptor, select.POLLOUT if writing else select.POLLIN)
        return bool(poller.poll(None if deadline == math.inf else max(0.0, deadline - time.monotonic()) * 1000))

    return wait


def wait_by(waits: Callable[[int], Wait]) -> None:
    """Make all connections of this process wait with `waits(descriptor)`.

    psycopg2 has one wait callback for each process. So a process with greenlets must call this before the first
    connect(), which would choose poll_socket.
    """
    ext.set_wait_callback(partial(_wait, waits))


def _wait(waits: Callable[[int], Wait], connection: Connection) -> None:
    """psycopg2's wait callback: returns when the answer is there, raises DeadlinePassed if it is late.

    Socket timeouts cannot do this: a stopped server keeps its TCP connection alive.
    """
    # The callback is for the whole process: other connections, such as a migration's, have no deadline.
    deadline: float = getattr(connection, "deadline", math.inf)
    wait: Wait | None = getattr(connection, "wait", None)
    while (state := connection.poll()) != ext.POLL_OK:
        if not (wait or waits(connection.fileno()))(state == ext.POLL_WRITE, deadline):
            if isinstance(connection, Connection):
                connection.give_up()
            # psycopg2 closes a connection whose callback raises, so a late answer is never mistaken for the next one.
            raise DeadlinePassed("the server did not answer in time")
    if wait is None and isinstance(connection, Connection):
        # It is open. Before, libpq might have changed the socket.
        connection.wait = waits(connection.fileno())


def connect(
    settings: Settings, *, deadline: float, count: Callable[[Server], Callable[[], None] | None] = lambda _: None
) -> Connection:
    """Open a connection to the database by `deadline`, with the session settings that every statement relies on.

    If DATABASE_URL has several hosts or addresses, servers.py chooses one. `count` is called before each try, and
    returns the connection's `on_close`, which also runs if the try fails. It may raise NoSlot.

    Raises psycopg2.OperationalError, with the reason for each server that was tried, or NoSlot.
    """
    if ext.get_wait_callback() is None:
        wait_by(poll_socket)

    def open_(parameters: Mapping[str, str], until: float) -> Connection:
        server = Server(**parameters)
        on_close = count(server)
        try:
            opened = _open(settings, parameters, until)
        except BaseException:
            if on_close:
                on_close()
            raise
        opened.server, opened.on_close = server, on_close
        return opened

    connection = servers.first(libpq_url(settings), deadline, open_)
    connection.deadline = deadline
    return connection


def _open(settings: Settings, server: Mapping[str, str], until: float) -> Connection:
    """Open a connection to the server with these parameters, and make it ready, all by `until`.

    Behind a transaction-mode pooler, a session setting would leak to other clients. There, nothing is set, and `before`
    goes with each statement instead. Process ids reveal a pooler: the handshake has the pooler's id, but a query
    returns the server's.
    """
    parameters = {
        "application_name": "taskapi",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        # If the network is gone, the connection ends a little before the statement's deadline, and holds no slot.
        "tcp_user_timeout": milliseconds(settings.db_statement_timeout),
        **ext.parse_dsn(libpq_url(settings)),
        **server,
        "client_encoding": "utf8",
    }
    connection: Connection = psycopg2.connect(**parameters, connection_factory=partial(Connection, deadline=until))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(limits(settings) + SESSION_SQL)
            backend_pid, durability, *properties = cursor.fetchone()
            if problem := misfit(*properties):
                raise psycopg2.OperationalError(problem)
            session = limits(settings)
            if durability == "off":
                # Acknowledged writes must survive a crash, whatever the role or the database prefers.
                session += " SET LOCAL synchronous_commit = on;"
            # First the limits: until they are set, those of the role hold, which may be short.
            connection.before = session + READ_COMMITTED + PLANNING
            connection.behind_pooler = backend_pid != connection.info.backend_pid
            if not connection.behind_pooler:
                cursor.execute(
                    "SET jit = off; SET default_transaction_isolation = 'read committed';"
                    f" {(session + PLANNING).replace('SET LOCAL', 'SET')}"
                )
        # Answers are JSON text in UTF-8 already, so they are not decoded.
        ext.register_type(ext.BYTES, connection)
    except BaseException:
        connection.close()
        raise
    return connection


READ_COMMITTED = " SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
"""The SQL for a transaction whose session may have another default. The statements take locks and need this level: on a
higher one, a transaction that has waited for a lock fails with 40001 (PostgreSQL's manual, 13.2)."""

PLANNING = (
    " SET LOCAL plan_cache_mode = force_generic_plan;"
    " SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
    # Off, it would make statements fail that have fewer rows with it.
    " SET LOCAL row_security = on;"
)
"""The SQL for plans that do not depend on when they are made. Otherwise a connection and its triggers would keep plans
from when a table was small. Every statement has its indexes, so none needs to read a whole table (decision 13)."""

OWN_PLAN = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_bitmapscan = on;"
"""The SQL for a statement that takes far longer than a plan for its arguments does, such as a search in texts. The plan
may use an index for texts, where an operator has made one: such an index is only read into a bitmap."""

PROPERTIES_SQL = "current_setting('server_encoding'), current_setting('session_replication_role')"
"""The columns that misfit() checks."""

SESSION_SQL = f"SELECT pg_backend_pid(), current_setting('synchronous_commit'), {PROPERTIES_SQL}"


def misfit(encoding: str, replication_role: str) -> str | None:
    """Why taskapi cannot work with these PROPERTIES_SQL, in one sentence; None if it can."""
    if encoding != "UTF8":
        return (
            f"the database's encoding is {encoding}, and taskapi needs UTF8: make another database with"
            " CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8'"
        )
    if replication_role == "replica":
        return (
            "session_replication_role is replica, which turns the history's triggers off:"
            " run ALTER ROLE name RESET session_replication_role, or ALTER DATABASE name RESET it, wherever it is set"
        )
    return None


def limits(settings: Settings, longest: float = math.inf) -> str:
    """The SQL for the time limits of a transaction, at most `longest` seconds."""
    return (
        f"SET LOCAL statement_timeout = {milliseconds(min(settings.db_statement_timeout, longest))};"
        f" SET LOCAL lock_timeout = {milliseconds(min(settings.db_lock_timeout, longest))};"
    )


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one: 0 means no limit to Postgres."""
    return max(1, round(seconds * 1000))
