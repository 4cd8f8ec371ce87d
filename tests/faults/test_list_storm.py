"""The list of a client that has one already, while others write, dawdle and roll back: each answer is right."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskapi.database import queries
from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of

BOTH = """
WITH answer AS MATERIALIZED ({})
SELECT
    (SELECT tasks IS NULL FROM answer),
    (SELECT position FROM answer),
    (SELECT coalesce(sum(hashtextextended(id::text || version, 0)), 0)::text FROM tasks),
    (SELECT count(*) FROM task_history)
"""


def test_no_look_in_a_storm_is_wrong(
    sized: Callable[[int, int], int],
    figure: Callable[[str], None],
    new_database: Callable[[], str],
    new_repository: NewRepository,
    postgres: Server,
) -> None:
    """Each look says at once whether there is news, and what there is, from one snapshot."""
    rounds, looks = sized(1, 4), sized(300, 5_000)
    # Each on a database of its own: a look counts all entries, and would take ever longer.
    found = [
        _look(looks, url, new_repository(url, db_connections=8), postgres)
        for url in (new_database() for _ in range(rounds))
    ]
    wrong, needless, unchanged = (sum(column) for column in zip(*found, strict=True))
    figure(f"{rounds * looks} looks, {unchanged} of them without news; {wrong} wrong, {needless} in vain")
    assert (wrong, needless) == (0, 0)
    assert rounds * looks // 20 < unchanged < rounds * looks


def _look(looks: int, database_url: str, repository: Repository, postgres: Server) -> tuple[int, int, int]:
    """Look so many times in a storm. Return how many were wrong, needless, and without news."""
    tasks = [id_of(repository.create_task(title="x", description=None)) for _ in range(8)]
    stop = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        while not stop.is_set():
            repository.update_task(task_id=chance.choice(tasks), changes={"title": f"{chance.random()}"})
            if chance.random() < 0.2:
                repository.delete_task(task_id=id_of(repository.create_task(title="y", description=None)))
            stop.wait(chance.choice([0, 0.002, 0.02]))

    def dawdle(number: int) -> None:
        """Transactions that stay open, or come to nothing, and those of another database."""
        chance = random.Random(number)
        statement = queries.load()["create_task"].text
        empty: dict[str, Any] = dict.fromkeys(queries.load()["create_task"].parameters)
        with Sql(database_url) as sql, Sql(postgres.embedded.url) as elsewhere:
            while not stop.is_set():
                sql.execute("BEGIN")
                sql.execute(statement, {**empty, "owner": "default", "task": '{"title": "slow"}'})
                stop.wait(chance.choice([0, 0.01, 0.05]))
                sql.execute(chance.choice(["COMMIT", "ROLLBACK", "ROLLBACK"]))
                elsewhere.execute("SELECT pg_current_xact_id()")

    both = BOTH.format(queries.load()["list_tasks"].text)
    wrong = needless = unchanged = 0
    known = "{}"
    last: list[Any] = []
    with ThreadPoolExecutor(4) as threads, Sql(database_url) as sql:
        work = [
            *(threads.submit(write, number) for number in range(2)),
            *(threads.submit(dawdle, number) for number in range(2)),
        ]
        try:
            for _ in range(looks):
                ((is_unchanged, position, *now),) = sql.rows(both, {"owner": "default", "known": known})
                wrong += is_unchanged and now != last
                needless += not is_unchanged and now == last
                unchanged += is_unchanged
                known, last = f'{{"{position}"}}', now
        finally:
            stop.set()
        for done in work:
            done.result()
        assert_replay_equals_tasks(sql)
    return wrong, needless, unchanged
