"""What is done to a PostgreSQL server from outside: its processes found, killed, stopped and let go on."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.waiting import wait_until

SERVICE = "application_name = 'taskapi' AND datname = current_database()"


class DurableServer(Server):
    """A PostgreSQL with the settings of production: what it has acknowledged is on the disk."""

    def start(self) -> None:
        self.embedded.start({"max_connections": "200"})

    def kill(self) -> None:
        """Kill all of it at once with kill -9, as the kernel does when memory is out; return when it is gone."""
        pids = processes(self.embedded.data)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        wait_until(lambda: not processes(self.embedded.data), "the killed server is gone")


def processes(data: Path) -> list[int]:
    """The postmaster and all its children: those that work in the data's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Those that have just ended, and those of others.
        with suppress(OSError):
            if (process / "cwd").readlink() == data:
                found.append(int(process.name))
    return sorted(found)


def pids(sql: Sql) -> list[int]:
    """The server's processes that serve the service."""
    return [pid for (pid,) in sql.rows(f"SELECT pid FROM pg_stat_activity WHERE {SERVICE}")]


def count(sql: Sql) -> int:
    """How many connections the service has."""
    return int(sql.value(f"SELECT count(*) FROM pg_stat_activity WHERE {SERVICE}"))


def terminate(sql: Sql) -> int:
    """End all connections of the service from the server's side; return how many there were."""
    return int(sql.value(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {SERVICE}"))


def end(sql: Sql) -> int:
    """The same, and return when they are gone: a write that meets one that is ending has an unknown outcome.

    A process closes its connection some time after it has left pg_stat_activity.
    """
    ending = pids(sql)
    ended = terminate(sql)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ending), "their processes are gone")
    wait_until(lambda: count(sql) == 0, "its connections are gone")
    return ended


@contextmanager
def stopped(sql: Sql) -> Iterator[list[int]]:
    """While inside, the server's processes that serve the service stand still. Their connections stay open."""
    standing = pids(sql)
    for pid in standing:
        _signal(pid, signal.SIGSTOP)
    try:
        yield standing
    finally:
        for pid in standing:
            _signal(pid, signal.SIGCONT)


def kill_one(sql: Sql) -> None:
    """Kill a process that serves the service with kill -9: the server then ends all others, and recovers."""
    for pid in pids(sql)[:1]:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
