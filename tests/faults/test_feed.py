"""The changes skip nothing, repeat nothing and keep each task's order, however others write meanwhile."""

import threading
from collections.abc import Callable
from typing import Any

import orjson

from taskapi.cursors import Cursor
from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.sql import Sql
from tests.support.waiting import wait_until
from tests.support.writers import writers

WRITERS = 32

LIST_AND_POSITION = "SELECT position_now('default'), (SELECT json_agg(answer(tasks))::text FROM tasks)"


class Reader(threading.Thread):
    """Reads the changes until it has read all that were there after the end."""

    def __init__(self, repository: Repository, limit: int, after: Cursor | None = None) -> None:
        super().__init__(daemon=True)
        self.items: list[dict[str, Any]] = []
        self.longest = 0
        self.error: BaseException | None = None
        self.ending = threading.Event()
        self._repository = repository
        self._limit = limit
        self._cursor = after

    def run(self) -> None:
        try:
            is_last = False
            while not is_last:
                is_last = self.ending.is_set()
                has_more = True
                while has_more:
                    # As a client does: all that it has is the text.
                    after = self._cursor and Cursor.parse(str(self._cursor))
                    changes = self._repository.list_changes(after=after, limit=self._limit)
                    self.items += map(orjson.loads, changes.items)
                    self._cursor, has_more = changes.cursor, changes.has_more
                    self.longest = max(self.longest, len(str(changes.cursor)))
                self.ending.wait(0.02)
        except BaseException as error:  # noqa: BLE001  (the test raises it again)
            self.error = error

    def end(self) -> None:
        self.ending.set()
        self.join()
        if self.error:
            raise self.error


def out_of_order(items: list[dict[str, Any]]) -> int:
    """How many changes come after a later one of their task."""
    newest: dict[str, int] = {}
    wrong = 0
    for item in items:
        wrong += item["version"] <= newest.get(item["task_id"], 0)
        newest[item["task_id"]] = item["version"]
    return wrong


def test_every_change_once_in_its_tasks_order(
    new_database: Callable[[], str],
    new_repository: NewRepository,
    sized: Callable[[Any, Any], Any],
    figure: Callable[[str], None],
) -> None:
    # Some of them write several entries.
    writes, pauses = sized(2_000, 65_000), sized((0.05, 0.3), (0.05, 0.3, 1.0, 2.5))
    url, other_url = new_database(), new_database()
    repository = new_repository(url)
    with Sql(url) as sql:
        with writers(url, WRITERS, other_url=other_url, pauses=pauses) as threads:
            ((position, listed),) = sql.rows(LIST_AND_POSITION)
            copy = Reader(repository, 50, Cursor.of_position(position))
            readers = [Reader(repository, limit) for limit in (3, 100, 1000)]
            for reader in (copy, *readers):
                reader.start()
            wait_until(
                lambda: sum(thread.written for thread in threads) >= writes or any(thread.error for thread in threads),
                "enough is written",
                seconds=600,
            )
        for reader in (copy, *readers):
            reader.end()
        written = {*sql.rows("SELECT history_id::text, version FROM task_history")}
        now = {task["id"]: task for task in orjson.loads(sql.rows(LIST_AND_POSITION)[0][1])}

    for reader in readers:
        got = [(item["history_id"], item["version"]) for item in reader.items]
        skipped, twice = len(written - set(got)), len(got) - len(set(got))
        assert (skipped, twice, out_of_order(reader.items), set(got) - written) == (0, 0, 0, set())

    tasks = {task["id"]: task for task in orjson.loads(listed)}
    for item in copy.items:
        if item["task"]:
            tasks[item["task_id"]] = item["task"]
        else:
            del tasks[item["task_id"]]
    assert tasks == now
    longest = max(reader.longest for reader in readers)
    figure(
        f"{len(written):,} entries of {WRITERS} writers, {len(readers)} readers: 0 skipped, 0 twice, 0 out of a task's"
        f" order; a list with {len(copy.items):,} changes is the later list; longest cursor: {longest} characters"
    )
