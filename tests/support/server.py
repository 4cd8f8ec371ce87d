"""The run's own PostgreSQL, and the databases that tests get on it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event

from taskapi.embedded import EmbeddedPostgres
from tests.support.sql import Sql

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_preload_libraries": "pg_stat_statements",
}


class Server:
    """An embedded PostgreSQL from start() to stop(); each database lives as long as its test needs it."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedPostgres(folder)
        self._numbers = count(1)

    def start(self) -> None:
        self.embedded.start(SETTINGS)

    def stop(self) -> None:
        self.embedded.stop()

    def url(self, database: str) -> str:
        """The direct address of one of the databases."""
        return self.embedded.url.replace("@/taskapi?", f"@/{database}?")

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """A new database, made like `template`: yields its name, and drops it afterwards, whoever uses it."""
        name = f"test_{next(self._numbers)}"
        with Sql(self.embedded.url) as sql:
            sql.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            with Sql(self.embedded.url) as sql:
                sql.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def neighbour(self) -> Iterator[None]:
        """Meanwhile somebody writes in another database, which moves everybody's snapshots, as autovacuum does.

        So a test that takes two positions of an unchanged list for equal fails here, and not one day in CI.
        """
        left = Event()

        def write() -> None:
            with Sql(self.embedded.url) as sql:
                while not left.wait(0.005):
                    sql.execute("SELECT pg_current_xact_id()")

        with ThreadPoolExecutor(1) as thread:
            writes = thread.submit(write)
            try:
                yield
            finally:
                left.set()
        writes.result()
