"""A synchronous pair of PostgreSQLs: the primary acknowledges only what its standby has, too."""

import os
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

from tests.support import backends
from tests.support.backends import DurableServer
from tests.support.sql import Sql
from tests.support.standby import Standby
from tests.support.waiting import wait_until


class Member(Standby, DurableServer):
    """A standby with the settings of production."""


class Pair:
    """Two servers. The one that takes writes is the `primary`: after a failover, that is the other one."""

    def __init__(self, folder: Path) -> None:
        self._folders = [folder / "one", folder / "two"]
        self.primary = DurableServer(self._folders[0])
        self.standby: DurableServer = Member(self._folders[1], self.primary)
        self._is_complete = False

    def start(self) -> None:
        self.primary.start()
        self.complete()

    def stop(self) -> None:
        for server in (self.primary, self.standby):
            server.kill()
            server.stop()

    @property
    def url(self) -> str:
        """The address of both, always in the same order."""
        hosts = ",".join(quote(str(folder / "run")) for folder in self._folders)
        return f"postgresql://taskapi@/taskapi?host={hosts}&port=5432&target_session_attrs=read-write"

    def demote(self) -> None:
        """The primary takes no more writes. Return when the standby has done all that were acknowledged."""
        with Sql(self.primary.embedded.url) as sql, Sql(self.standby.embedded.url) as follower:
            sql.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            sql.execute("SELECT pg_reload_conf()")
            end = sql.value("SELECT pg_current_wal_flush_lsn()")
            wait_until(lambda: follower.value("SELECT pg_last_wal_replay_lsn() >= %s", (end,)), "the standby has all")

    def kill(self) -> None:
        """The primary dies, all of it at once."""
        self.primary.kill()

    def freeze(self) -> None:
        """The primary stands still, all of it, and its connections stay open."""
        _signal(self.primary, signal.SIGSTOP)

    def thaw(self, server: DurableServer) -> None:
        """It goes on as if nothing had happened."""
        _signal(server, signal.SIGCONT)

    def promote(self) -> None:
        """The standby takes the writes."""
        with Sql(self.standby.embedded.url) as sql:
            # It was copied with this setting, and nobody follows it yet: no write would end.
            sql.execute("ALTER SYSTEM RESET synchronous_standby_names")
            sql.execute("SELECT pg_reload_conf()")
            assert sql.value("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary
        self._is_complete = False

    def complete(self) -> None:
        """The other server, whatever it was, is a standby that the primary waits for, made from a new copy."""
        if self._is_complete:
            return
        self._is_complete = True
        self.standby.kill()
        self.standby.stop()
        folder = self.standby.embedded.folder
        shutil.rmtree(folder, ignore_errors=True)
        self.standby = Member(folder, self.primary)
        with Sql(self.primary.embedded.url) as sql:
            # Not yet in force: it would wait for a standby that is not there.
            sql.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            sql.execute("ALTER SYSTEM SET wal_retrieve_retry_interval = '500ms'")
            self.standby.start()
            wait_until(lambda: sql.value("SELECT count(*) FROM pg_stat_replication") == 1, "the standby follows")
            sql.execute("SELECT pg_reload_conf()")
            wait_until(
                lambda: sql.rows("SELECT sync_state FROM pg_stat_replication") == [("sync",)], "it is waited for"
            )


def _signal(server: DurableServer, number: signal.Signals) -> None:
    for pid in backends.processes(server.embedded.data):
        os.kill(pid, number)
