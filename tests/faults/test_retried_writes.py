"""A retried write happens once: answers are lost, equal requests meet, processes are killed, and the clients repeat."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any
from uuid import UUID

from tests.support.ledger import PLAN
from tests.support.load import BROKEN, Answer, Client, at_once, crowd
from tests.support.proxy import Proxy
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.waiting import wait_until

CLIENTS = 8

POPUPS = {
    "CREATED": "TASK_CREATED",
    "UPDATED": "TASK_UPDATED",
    "COMPLETED": "TASK_COMPLETED",
    "INCOMPLETED": "TASK_INCOMPLETE",
    "DELETED": "TASK_DELETED",
}


@dataclass
class Write:
    """One request that writes, with the key it keeps, and all the answers that came to it."""

    action: str
    method: str
    path: str
    body: dict[str, Any] | None
    key: str
    answers: list[Answer] = field(default_factory=list)
    lost: int = 0

    def send(self, client: Client) -> Answer | None:
        """Send it once; None when no answer comes."""
        try:
            answer = client.request(self.method, self.path, self.body, key=self.key)
        except BROKEN:
            self.lost += 1
            return None
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) >= 1
            return None
        self.answers.append(answer)
        return answer

    def repeat(self, client: Client) -> Answer:
        """Send it, again and again, until an answer comes."""
        give_up = time.monotonic() + 30
        while (answer := self.send(client)) is None:
            assert time.monotonic() < give_up, f"no answer: {self}"
            time.sleep(0.01)
        return answer


class Author:
    """Writes tasks from their creation to their deletion: `step` is the next write of one client."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self._numbers = count()
        self._tasks: dict[int, tuple[str, int]] = {}

    def next(self, client: int) -> Write:
        """The next write after the answers that this client has received."""
        task_id, done = self._tasks.get(client, ("", 0))
        number, action = next(self._numbers), PLAN[done]
        method, path, body = {
            "CREATED": ("POST", "/tasks", {"title": f"write {number}"}),
            "UPDATED": ("PUT", f"/tasks/{task_id}", {"title": f"write {number}", "description": f"of {client}"}),
            "COMPLETED": ("PATCH", f"/tasks/{task_id}/complete", None),
            "INCOMPLETED": ("PATCH", f"/tasks/{task_id}/incomplete", None),
            "DELETED": ("DELETE", f"/tasks/{task_id}", None),
        }[action]
        write = Write(action, method, path, body, f"key {number}")
        self.writes.append(write)
        return write

    def answered(self, client: int, answer: Answer) -> None:
        task_id, done = self._tasks.get(client, ("", 0))
        self._tasks[client] = (task_id or answer.data["id"], done + 1) if done + 1 < len(PLAN) else ("", 0)

    def step(self, client: Client, number: int) -> None:
        write = self.next(number)
        self.answered(number, write.repeat(client))

    def check(self, sql: Sql, port: int) -> None:
        """Each write has exactly one entry, and every answer to it, also one more now, tells what that entry has."""
        with Client(port) as client:
            for write in self.writes:
                write.repeat(client)
        entries = {
            key: (action, snapshot)
            for key, action, snapshot in sql.rows("SELECT idempotency_key, action_type, snapshot FROM task_history")
        }
        assert sql.value("SELECT count(*) FROM task_history") == len(self.writes) == len(entries)
        for write in self.writes:
            action, snapshot = entries[write.key]
            assert action == write.action
            answers = {(answer.status, answer.body, answer.headers["Location"]) for answer in write.answers}
            assert len(answers) == 1, f"different answers: {write}"
            first, last = write.answers[0], write.answers[-1]
            assert first.status == (201 if action == "CREATED" else 200)
            assert first.envelope["popup"] == POPUPS[action]
            assert first.data == (None if action == "DELETED" else snapshot)
            assert last.headers["Idempotency-Replayed"] == "true"
        assert_replay_equals_tasks(sql)


def test_writes_whose_answers_are_lost(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    writes, author, service = sized(60, 1000), Author(), start_service(WEB_CONCURRENCY="2")

    def lose_and_repeat(number: int) -> int:
        """One client's share of the writes: the answer to each is lost, once to three times. How many were lost."""
        with Proxy(service.port) as proxy, Client(proxy.port) as client:
            for turn in range(number, writes, CLIENTS):
                write = author.next(number)
                proxy.losing = True
                for _ in range(turn % 3 + 1):
                    assert write.send(client) is None
                proxy.losing = False
                answer = write.repeat(client)
                # The first one wrote, and acknowledged it to nobody.
                assert answer.headers["Idempotency-Replayed"] == "true"
                author.answered(number, answer)
                assert write.lost == turn % 3 + 1
            return proxy.lost

    with ThreadPoolExecutor(CLIENTS) as threads:
        lost = sum(threads.map(lose_and_repeat, range(CLIENTS)))
    assert len(author.writes) == writes
    assert lost == sum(write.lost for write in author.writes) >= writes
    with Sql(service.database_url) as sql:
        author.check(sql, service.port)
    figure(f"{writes:,} writes, {lost:,} answers lost: {writes:,} entries, 0 doubled effects, all answers equal")


UNDOS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an update": ("UPDATED", "/tasks/{id}/undo", {"version": 2}),
    "a deletion": ("RESTORED", "/tasks/{id}/undo", {"version": 3}),
    "a creation": ("DELETED", "/undo", {"task_id": "{id}", "version": 1}),
    "a restoration": ("RESTORED", "/tasks/{id}/restore", {"version": 1}),
}


def test_undos_whose_answers_are_lost(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    rounds, service = sized(5, 100), start_service()
    undos: list[Write] = []
    with Sql(service.database_url) as sql, Proxy(service.port) as proxy, Client(proxy.port) as client:
        for number, (what, (action, path, body)) in list(product(range(rounds), UNDOS.items())):
            task_id = client.create("A").data["id"]
            if what != "a creation":
                client.request("PUT", f"/tasks/{task_id}", {"title": "B"})
            if what in ("a deletion", "a restoration"):
                client.request("DELETE", f"/tasks/{task_id}")
            sent = {name: task_id if value == "{id}" else value for name, value in body.items()}
            undo = Write(action, "POST", path.format(id=task_id), sent, f"{what} {number}")
            proxy.losing = True
            for _ in range(number % 3 + 1):
                assert undo.send(client) is None
            proxy.losing = False
            first = undo.repeat(client)
            # Others go on; the answer stays the first one.
            client.request("PUT", f"/tasks/{task_id}", {"title": "C"})
            again = undo.repeat(client)
            for answer in (first, again):
                assert (answer.status, answer.headers["Idempotency-Replayed"]) == (200, "true")
                assert (answer.body, answer.headers["ETag"]) == (first.body, first.headers["ETag"])
            undos.append(undo)
        found = dict(
            sql.rows("SELECT idempotency_key, min(action_type) FROM task_history GROUP BY 1 HAVING count(*) = 1")
        )
        assert found == {undo.key: undo.action for undo in undos}
        assert sql.value("SELECT count(*) FROM task_history WHERE description LIKE 'undo: %%'") == len(undos)
        assert_replay_equals_tasks(sql)
    lost = sum(undo.lost for undo in undos)
    figure(f"{len(undos):,} undos and restorations, {lost:,} answers lost: {len(undos):,} effects, all answers equal")


def test_equal_requests_at_the_same_moment(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    rounds, author, service = sized(2, 20), Author(), start_service(WEB_CONCURRENCY="2")
    replayed: Counter[str | None] = Counter()
    with Sql(service.database_url) as sql:
        for _ in range(rounds * len(PLAN)):
            write = author.next(0)
            answers = at_once(service.port, 50, lambda client, _, write=write: write.repeat(client))  # type: ignore[misc]
            assert len(answers) == 50
            round_of = Counter(answer.headers["Idempotency-Replayed"] for answer in answers)
            assert round_of == {None: 1, "true": 49}
            replayed += round_of
            author.answered(0, answers[0])
        author.check(sql, service.port)
    figure(f"{len(author.writes)} times 50 equal requests at once: {replayed[None]} effects, all answers equal")


def test_another_body_with_the_same_key_is_422(start_service: Any) -> None:
    author, service = Author(), start_service(WEB_CONCURRENCY="2")
    with Sql(service.database_url) as sql, Proxy(service.port) as proxy, Client(proxy.port) as client:
        for _ in PLAN:
            write = author.next(0)
            proxy.losing = True
            assert write.send(client) is None
            proxy.losing = False
            # The key is taken as soon as it has written, whoever knows of it.
            others: list[tuple[str, str, dict[str, str] | None]] = [
                ("POST", "/tasks", {"title": "something else"}),
                ("DELETE", f"/tasks/{UUID(int=4, version=4)}", None),
            ]
            if write.body is not None:
                others.append((write.method, write.path, {**write.body, "title": "another"}))
            for method, path, body in others:
                refused = client.request(method, path, body, key=write.key)
                assert refused.status == 422, (write, method, path, refused)
                assert refused.envelope["error"].startswith("Idempotency-Key: ")
            author.answered(0, write.repeat(client))
        author.check(sql, service.port)


def test_a_worker_is_killed_while_its_write_waits(start_service: Any) -> None:
    """The surest way in between: the row is locked, so the write has begun and cannot end before the worker has."""
    service = start_service(WEB_CONCURRENCY="2")
    with Sql(service.database_url) as sql, Client(service.port) as client:
        task_id = client.create("wanted").data["id"]
        write = Write("COMPLETED", "PATCH", f"/tasks/{task_id}/complete", None, "key of a killed one")
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with ThreadPoolExecutor() as threads:
            with sql.transaction():
                sql.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
                first = threads.submit(write.send, client)
                with Sql(service.database_url) as watching:
                    wait_until(lambda: watching.value(waiting), "the write waits for the row")
                for worker in service.workers():
                    os.kill(worker, signal.SIGKILL)
                assert first.result() is None
            # Postgres does not know that nobody waits any more: it completes the task.
            wait_until(lambda: sql.value("SELECT is_completed FROM tasks"), "the write has happened")
        again = write.repeat(client)
        assert again.status == 200
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.data["is_completed"] is True
        assert write.lost >= 1
        assert sql.rows("SELECT action_type FROM task_history ORDER BY version") == [("CREATED",), ("COMPLETED",)]
        assert_replay_equals_tasks(sql)


def test_workers_are_killed_under_writes(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    kills, author, service = sized(3, 50), Author(), start_service(WEB_CONCURRENCY="2")

    def kill_one_worker() -> None:
        """Return when it is gone, another one has taken its place, and writes have gone on."""
        before = service.workers()
        victim = random.choice(before)
        written = len(author.writes)
        wait_until(lambda: len(author.writes) > written + 2 * CLIENTS, f"writes go on:\n{service.log[-3000:]}")
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: victim not in service.workers() and len(service.workers()) == len(before),
            f"another worker is there:\n{service.log[-3000:]}",
        )

    with crowd(service.port, CLIENTS, author.step):
        for _ in range(kills):
            kill_one_worker()
        while not (broken := sum(write.lost for write in author.writes)):
            kills += 1
            kill_one_worker()
    repeated = sum(write.answers[0].headers["Idempotency-Replayed"] is not None for write in author.writes)
    with Sql(service.database_url) as sql:
        author.check(sql, service.port)
    figure(
        f"{kills} workers killed with kill -9 under {len(author.writes):,} writes: {broken} requests broken, of which"
        f" {repeated} had written; 0 doubled, all answers equal"
    )
