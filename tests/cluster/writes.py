"""What clients write through one route, what they are told, and whether the history tells the same."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

from tests.support.ledger import NOTHING, PLAN, UNKNOWN
from tests.support.load import Answer, Client, crowd
from tests.support.sql import Sql

CLIENTS = 6
"""Every other one sends keys, and repeats a request until it is acknowledged."""

PAUSE = 0.05
"""Seconds between two requests of a client: the machine is to have some time for the cluster, too."""


@dataclass
class Life:
    """A task of one client: how much of the plan is done, and the key of the next change."""

    task_id: str = ""
    done: int = 0
    key: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True)
class Request:
    """One request and its fate: acknowledged, nothing, unknown; or the status of another answer."""

    request_id: str
    key: str | None
    fate: str


@dataclass(frozen=True)
class Verdict:
    """How many writes were acknowledged; of these, were lost, or happened twice; and how many "nothing" are untrue."""

    acknowledged: int
    lost: int
    doubled: int
    untrue: int


class Writes:
    """The writes of one route's clients."""

    def __init__(self, port: int) -> None:
        self.requests: list[Request] = []
        self.acknowledged: list[float] = []
        """When, as time.monotonic()."""
        self._port = port
        self._lives: dict[int, Life] = {}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """While inside, the clients write."""
        with crowd(self._port, CLIENTS, self._step):
            yield

    def judged_by(self, entries: "Entries") -> Verdict:
        """Compare with the history. A request that was answered leaves one entry; with a key, all that have it do."""
        seen = Counter[str]()
        lost = doubled = untrue = 0
        for request in self.requests:
            written = entries.by_key[request.key] if request.key else entries.by_request[request.request_id]
            if request.fate == "acknowledged":
                lost += written == 0
            if request.fate == "nothing":
                untrue += entries.by_request[request.request_id] > 0
            # Each key is looked at once.
            seen[request.key or request.request_id] += 1
            doubled += written > 1 and seen[request.key or request.request_id] == 1
        return Verdict(len(self.acknowledged), lost, doubled, untrue)

    def _step(self, client: Client, number: int) -> None:
        life = self._lives.setdefault(number, Life())
        key = life.key if number % 2 else None
        answer = _send(client, life, number, key)
        fate = _fate(answer)
        self.requests.append(Request(answer.headers["X-Request-Id"], key, fate))
        if fate == "acknowledged":
            self.acknowledged.append(time.monotonic())
            life.task_id = life.task_id or answer.data["id"]
            life.done += 1
            life.key = uuid4().hex
        if life.done == len(PLAN) or (fate == "unknown" and not key) or fate.isdigit():
            del self._lives[number]
        time.sleep(PAUSE)


def longest_gap(moments: list[float], since: float, until: float) -> float:
    """The most seconds without one of the moments, between the two times."""
    times = sorted([since, *(moment for moment in moments if since < moment < until), until])
    return max(after - moment for moment, after in pairwise(times))


class Entries:
    """How many entries the history has, by the id of their request and by their key."""

    def __init__(self, sql: Sql) -> None:
        rows = sql.rows("SELECT request_id, idempotency_key FROM task_history")
        self.by_request = Counter(request for request, _ in rows)
        self.by_key = Counter(key for _, key in rows if key)


def _send(client: Client, life: Life, number: int, key: str | None) -> Answer:
    """The next change of the plan. Each of them leaves an entry."""
    path = f"/tasks/{life.task_id}"
    match PLAN[life.done]:
        case "CREATED":
            return client.create(f"Task of client {number}", key=key)
        case "UPDATED":
            return client.request("PUT", path, {"description": f"Change {life.done}"}, key=key)
        case "DELETED":
            return client.request("DELETE", path, key=key)
        case action:
            return client.request("PATCH", f"{path}/{'complete' if action == 'COMPLETED' else 'incomplete'}", key=key)


def _fate(answer: Answer) -> str:
    if answer.status in (200, 201):
        return "acknowledged"
    if answer.status != 503:
        return str(answer.status)
    said = answer.envelope["error"]
    assert (NOTHING in said) != (UNKNOWN in said), said
    return "nothing" if NOTHING in said else "unknown"
