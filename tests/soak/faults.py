"""What happens during the day: deploys, failovers, suspends, a slow disk, a killed worker."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from taskapi.revision import head
from tests.soak.traffic import Traffic
from tests.support import backends, embedded
from tests.support.migrating import NEXT
from tests.support.pair import Pair
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.waiting import wait_until

MIGRATION = f'''"""An index by title, and what the column is"""

from alembic import op

revision = "{NEXT}"
down_revision = "{head()}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY soak_title ON tasks (owner, title)")
    op.execute("COMMENT ON COLUMN tasks.title IS 'What is to be done'")
'''

NOTICED = 1.0
"""Seconds from a primary's end to the promotion: what watches the pair needs some."""

COLD_START = 0.5
"""Seconds that a suspended database takes to start."""

FLUSH_DELAY = 0.1
"""Seconds by which the slow disk's flushes take longer; PostgreSQL allows no more."""


class Faults:
    """They happen to the service, which runs the code of a folder, and to its pair of servers. Each ends by itself."""

    def __init__(self, pair: Pair, service: Service, code: Path, traffic: Traffic) -> None:
        self._pair = pair
        self._service = service
        self._code = code
        self._traffic = traffic

    def deploy(self) -> None:
        """Every worker is replaced."""
        self._service.hup()

    def migrate(self) -> None:
        """The new version has a migration."""
        (self._code / "alembic" / "versions" / f"{NEXT}_an_index_by_title.py").write_text(MIGRATION)
        self._service.hup()
        with Sql(self._pair.primary.embedded.url) as sql:
            assert sql.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'soak_title'::regclass")

    def demote(self) -> None:
        """The primary is demoted, and the standby promoted."""
        self._fail_over(self._pair.demote)

    def kill(self) -> None:
        """The same after a `kill -9` of all of the primary."""
        self._fail_over(self._pair.kill)

    def complete(self) -> None:
        """The old primary becomes the new one's standby."""
        self._pair.complete()

    def suspend_quiet(self) -> None:
        """The database is suspended while there are no requests, and starts with the next ones. Followers stay."""
        with self._paused():
            time.sleep(1)
            with self._suspended():
                self._traffic.flowing.set()
                time.sleep(COLD_START)

    def suspend(self) -> None:
        """The same under load."""
        with self._suspended():
            time.sleep(COLD_START)

    def slow_disk(self, seconds: float) -> None:
        """Each commit waits while it holds the lock under which the log is flushed, as for an fsync that takes so long.

        What commits meanwhile waits for the next flush, and goes with it.
        """
        with Sql(self._pair.primary.embedded.url) as sql:
            assert sql.value("SHOW fsync") == "on"
            sql.execute(f"ALTER SYSTEM SET commit_delay = {FLUSH_DELAY * 1_000_000:.0f}")
            # However few commit at once.
            sql.execute("ALTER SYSTEM SET commit_siblings = 0")
            sql.execute("SELECT pg_reload_conf()")
            time.sleep(seconds)
            sql.execute("ALTER SYSTEM RESET commit_delay")
            sql.execute("ALTER SYSTEM RESET commit_siblings")
            sql.execute("SELECT pg_reload_conf()")

    def kill_worker(self) -> None:
        """The younger worker dies by `kill -9`."""
        victim = max(self._service.workers())
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: victim not in self._service.workers() and len(self._service.workers()) == 2, "it is replaced"
        )

    def _fail_over(self, fail: Callable[[], None]) -> None:
        fail()
        time.sleep(NOTICED)
        self._pair.promote()

    @contextmanager
    def _suspended(self) -> Iterator[None]:
        """All connections are cut. While inside, new ones are accepted, and wait: as Neon's proxy lets them."""
        postmaster = embedded.postmaster(self._pair.primary.embedded.folder)
        with Sql(self._pair.primary.embedded.url) as sql:
            os.kill(postmaster, signal.SIGSTOP)
            try:
                backends.terminate(sql)
                wait_until(lambda: not backends.count(sql), "all connections are cut")
                yield
            finally:
                os.kill(postmaster, signal.SIGCONT)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._traffic.flowing.clear()
        try:
            yield
        finally:
            self._traffic.flowing.set()
