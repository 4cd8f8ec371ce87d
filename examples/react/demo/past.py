"""Runs the statements of sql/ as if it were another time.

They ask for clock_timestamp(), and a schema before pg_catalog has one that tells the time that it is given. All else is
as ever: no statement is written twice, and the triggers and `python -m taskapi.reconcile` find a true history.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Self

import psycopg2
import psycopg2.extensions as ext

from taskapi.database import queries

CLOCK = """
CREATE SCHEMA past;
CREATE FUNCTION past.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$
    SELECT current_setting('past.now')::timestamptz
$$;
SET search_path = past, pg_catalog, public
"""


class NotEmpty(Exception):
    """The database has a history already."""


class Past:
    """One connection, on which it is `now`. The Repository takes it for its database."""

    now: datetime

    def __init__(self, connection: ext.connection) -> None:
        self._connection = connection
        self._statements = queries.load()

    @classmethod
    @contextmanager
    def of(cls, url: str) -> Iterator[Self]:
        """That of a new database, which has its own clock again afterwards. Raises NotEmpty."""
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT EXISTS (SELECT FROM task_history)")
            if cursor.fetchone()[0]:
                raise NotEmpty("The database has a history already: sample tasks go into a new one only.")
            # Texts are bytes, as Database has them.
            ext.register_type(ext.BYTES, connection)
            cursor.execute(CLOCK)
            try:
                yield cls(connection)
            finally:
                # A server that has gone is told of by the error that it caused.
                with suppress(psycopg2.Error):
                    cursor.execute("DROP SCHEMA past CASCADE")

    def run(self, name: str, parameters: Mapping[str, Any], **options: bool) -> tuple[Any, ...] | None:
        """See Database.run: one message, and so one transaction. Each takes a moment."""
        self.now += timedelta(milliseconds=40)
        with self._connection.cursor() as cursor:
            statement = f"SET LOCAL past.now = %(now)s; {self._statements[name].text}"
            cursor.execute(statement, {**parameters, "now": self.now.isoformat()})
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row
