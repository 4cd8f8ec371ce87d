"""A SQLAlchemy pool on a list: the connection used last is used next."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, Pool


class Stack(Pool):
    """A pool without a limit, and so without a lock: append() and pop() of a list are atomic.

    It keeps no closed connections: a closed one is dropped when it comes back.
    """

    def __init__(self, creator: Callable[[], Any], **options: Any) -> None:
        """`creator` opens a connection; `options` are SQLAlchemy's."""
        super().__init__(creator, **options)
        # By the class's name it would be one of ours, which tell at INFO: of each connection that ends.
        self.logger = logging.getLogger("sqlalchemy.pool")
        self._again = partial(Stack, creator, **options)
        self._idle: list[ConnectionPoolEntry] = []

    def has_idle(self) -> bool:
        """Whether there is an idle connection."""
        return bool(self._idle)

    def recreate(self) -> "Stack":
        """A new, empty pool of the same kind."""
        return self._again()

    def dispose(self) -> None:
        """Close the idle connections."""
        self.shrink(0)

    def shrink(self, most: int) -> None:
        """Close idle connections until there are at most so many."""
        while len(self._idle) > most and (entry := self._pop()):
            entry.close()

    def _pop(self) -> ConnectionPoolEntry | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _do_get(self) -> ConnectionPoolEntry:
        return self._pop() or self._create_connection()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if record.dbapi_connection is not None:
            self._idle.append(record)
