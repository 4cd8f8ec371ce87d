"""How long PostgreSQL itself takes no writes, seen past taskapi and HAProxy."""

import threading
import time

import psycopg2

from tests.support.closing import Closing
from tests.support.sql import Sql

PAUSE = 0.05

TABLE_SQL = "CREATE TABLE failovers (at timestamptz NOT NULL DEFAULT clock_timestamp())"


class Probe(Closing):
    """Writes to each node that is a primary. A standby has what it has committed, as with every other write."""

    def __init__(self) -> None:
        self.committed: list[tuple[float, str]] = []
        """When, as time.monotonic(), and on which node."""
        self._is_closing = threading.Event()

    def look_at(self, name: str, url: str) -> None:
        """Begin with a node, by its direct address. One that stands still keeps its thread until it goes on."""
        threading.Thread(target=self._look, args=(name, f"{url}?connect_timeout=2"), daemon=True).start()

    def close(self) -> None:
        self._is_closing.set()

    def _look(self, name: str, url: str) -> None:
        while not self._is_closing.is_set():
            try:
                with Sql(url) as sql:
                    while not self._is_closing.wait(PAUSE):
                        if not sql.value("SELECT pg_is_in_recovery()"):
                            sql.execute("INSERT INTO failovers DEFAULT VALUES")
                            self.committed.append((time.monotonic(), name))
            except psycopg2.Error:
                self._is_closing.wait(PAUSE)
