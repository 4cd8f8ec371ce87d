"""A direct connection to a database, for what tests set up and look up behind the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from tests.support.closing import Closing


class Sql(Closing):
    """One connection in autocommit, past the service and past any pooler."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True

    def close(self) -> None:
        self.connection.close()

    @property
    def database(self) -> str:
        return str(self.connection.info.dbname)

    def rows(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """All rows of the statement; none where it returns nothing."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Any = None) -> Any:
        """The only column of the only row."""
        ((value,),) = self.rows(statement, parameters)
        return value

    def execute(self, statement: str, parameters: Any = None) -> int:
        """Run the statement; return the number of rows it was about."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return int(cursor.rowcount)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is inside happens at once at the end, or not at all."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    @contextmanager
    def without_triggers(self) -> Iterator[None]:
        """Write rows that the triggers would refuse, such as tasks of another week; the CHECKs still hold."""
        self.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            self.execute("RESET session_replication_role")
