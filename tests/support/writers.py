"""Many who write at once with the service's statements: some slowly, some for nothing, and some in another database."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2.errors import DeadlockDetected

from taskapi.database import queries
from taskapi.errors import TaskNotFound
from taskapi.repository import Repository
from tests.support.sql import Sql
from tests.support.tasks import id_of

SHARED = 100
"""How many tasks all of them change."""


class Statements:
    """What a repository needs of a database, on a connection whose transactions somebody else begins and ends."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._statements = queries.load()

    def run(self, name: str, parameters: dict[str, Any], **options: bool) -> tuple[Any, ...] | None:
        """Run the statement; text comes as bytes, as the service reads it."""
        rows = self._sql.rows(self._statements[name].text, parameters)
        return tuple(value.encode() if isinstance(value, str) else value for value in rows[0]) if rows else None


class Writer(threading.Thread):
    """Writes until it is told to end. `error` is what ended it before."""

    def __init__(self, url: str, seed: int, pauses: tuple[float, ...]) -> None:
        """`pauses`: seconds that its slow transactions stay open."""
        super().__init__(daemon=True)
        self.written = 0
        self.error: BaseException | None = None
        self.ending = threading.Event()
        self._url = url
        self._chance = random.Random(seed)
        self._pauses = pauses

    def run(self) -> None:
        try:
            with Sql(self._url) as sql:
                repository = Repository(Statements(sql))
                ids = [UUID(one) for (one,) in sql.rows(f"SELECT id::text FROM tasks ORDER BY id LIMIT {SHARED}")]
                while not self.ending.is_set():
                    self._live(sql, repository, ids)
        except BaseException as error:  # noqa: BLE001  (the test raises it again)
            self.error = error

    def _live(self, sql: Sql, repository: Repository, ids: list[UUID]) -> None:
        """A change of each kind, of tasks that others change, too; and a task's whole life."""
        chance, mine = self._chance, list[UUID]()

        def create() -> None:
            mine.append(id_of(repository.create_task(title=f"Task {chance.random()}", description=None)))

        def delete() -> None:
            repository.delete_task(task_id=mine[0])

        def rename() -> None:
            repository.update_task(task_id=chance.choice(ids), changes={"title": f"Title {chance.random()}"})

        def complete() -> None:
            repository.set_task_completed(task_id=chance.choice(ids), is_completed=chance.random() < 0.5)

        def complete_many() -> None:
            repository.set_tasks_completed(task_ids=chance.sample(ids, 8), is_completed=chance.random() < 0.5)

        for change in (create, rename, complete, complete_many):
            self._write(sql, change)
        if mine:
            self._write(sql, delete)

    def _write(self, sql: Sql, change: Callable[[], None]) -> None:
        luck = self._chance.random()
        is_slow, is_undone = luck < 0.01, 0.01 < luck < 0.03
        if is_slow or is_undone:
            sql.execute("BEGIN")
        try:
            change()
            self.written += 1
        except TaskNotFound:
            pass  # It was created in a transaction that was rolled back.
        except DeadlockDetected:
            is_undone = is_slow or is_undone
        if is_slow:
            time.sleep(self._chance.choice(self._pauses))
        if is_slow or is_undone:
            sql.execute("ROLLBACK" if is_undone else "COMMIT")


def load_of(url: str, ending: threading.Event) -> None:
    """Transactions in another database of the cluster, of which some stay open for long."""
    with Sql(url) as quick, psycopg2.connect(url).cursor() as slow:
        while not ending.is_set():
            slow.execute("SELECT pg_current_xact_id()")
            for _ in range(200):
                quick.execute("SELECT pg_current_xact_id()")
                time.sleep(0.001)
            slow.connection.commit()
        slow.connection.close()


@contextmanager
def writers(url: str, count: int, *, other_url: str, pauses: tuple[float, ...]) -> Iterator[list[Writer]]:
    """While inside, so many write to the database of `url`, and others make transactions in the one of `other_url`."""
    with Sql(url) as sql:
        shared = [{"title": f"Shared {number}", "description": None} for number in range(SHARED)]
        Repository(Statements(sql)).create_tasks(tasks=shared)
    ending = threading.Event()
    threads = [Writer(url, seed, pauses) for seed in range(count)]
    other = threading.Thread(target=load_of, args=(other_url, ending), daemon=True)
    with ExitStack() as stack:
        for thread in (*threads, other):
            thread.start()
            stack.callback(thread.join)
        stack.callback(ending.set)
        for thread in threads:
            stack.callback(thread.ending.set)
        yield threads
    for thread in threads:
        if thread.error:
            raise thread.error
