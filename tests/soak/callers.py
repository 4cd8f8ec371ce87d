"""One client of the day: what it does, what it notes, and what it knows of its own task."""

import http.client
import random
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import orjson

from tests.support.ledger import UNKNOWN, Ledger
from tests.support.load import BROKEN, Answer, Client

PATIENCE = 30.0
"""Seconds within which an operation is to succeed for its client, with all of its repetitions."""


@dataclass(frozen=True)
class Request:
    """One request: when its answer came, as a time.monotonic(), and how long that took. Status 0: no whole answer."""

    ended: float
    seconds: float
    status: int
    is_write: bool


@dataclass(frozen=True)
class Operation:
    """What a client wanted, with all of its repetitions. `seconds` count from the moment at which it was due."""

    ended: float
    seconds: float
    kind: str
    succeeded: bool


@dataclass
class Notes:
    """What all clients note. They only append."""

    requests: list[Request] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    """Of each read of a client's own task, what was not as its last acknowledged write left it; empty: nothing."""


class Caller(Client):
    """A client. To it, a connection that breaks is the same as the answer "a write may have happened".

    Every other one insists on its writes, with keys; and every other one takes a completion back by undoing it.
    """

    def __init__(self, port: int, number: int, ledger: Ledger, notes: Notes) -> None:
        super().__init__(port)
        self._number = number
        self._insists = bool(number % 2)
        self._undoes = number % 4 < 2
        self._ledger = ledger
        self._notes = notes
        self._mine: tuple[str, str] | None = None
        """The path and the tag of its task, as its last write left them; None where it does not know."""

    def operate(self, due: float) -> None:
        """One operation, repeated as the answers say until it has succeeded, or cannot any more."""
        kind, act = self._choose()
        while True:
            answer = act()
            has_failed = kind == "write" and UNKNOWN in (answer.envelope["error"] or "")
            if answer.status < 500 or has_failed or time.monotonic() > due + PATIENCE:
                break
            time.sleep(float(answer.headers["Retry-After"]))
        now = time.monotonic()
        is_done = answer.status < 500 and now - due <= PATIENCE
        self._notes.operations.append(Operation(now, now - due, kind, is_done))

    def request(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Answer:
        if self._undoes and path.endswith("/incomplete"):
            # In the ledger's plan, the completion is a task's third version.
            method, path, body = "POST", path.replace("/incomplete", "/undo"), {"version": 3}
        send = partial(super().request, method, path, body, key=key)
        return self._noted(send, is_write=method != "GET")

    def _choose(self) -> tuple[str, Callable[[], Answer]]:
        kinds: dict[str, tuple[int, Callable[[], Answer]]] = {
            "write with a key" if self._insists else "write": (30, self._write),
            "get": (25, self._get),
            "get, unchanged": (10, lambda: self._get(is_conditional=True)),
            "list": (15, lambda: self._read("/tasks?limit=20&count=true")),
            "history": (10, lambda: self._read("/history?limit=20")),
            "statistics": (10, lambda: self._read("/stats/weekly")),
        }
        kind = random.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        return kind, kinds[kind][1]

    def _write(self) -> Answer:
        self._mine = None
        answer = self._ledger.step(self, self._number, insists=self._insists)
        place, tag = answer.headers["Content-Location"], answer.headers["ETag"]
        if answer.status < 300 and place and tag:
            self._mine = place.removeprefix("/api/v1"), tag
        return answer

    def _read(self, path: str) -> Answer:
        answer = self.request("GET", path)
        assert answer.status in (200, 503), f"{answer.status} for {path}: {answer.body!r}"
        return answer

    def _get(self, *, is_conditional: bool = False) -> Answer:
        """The client's own task, as its last write left it."""
        if not self._mine:
            return self._read("/tasks?limit=1")
        path, tag = self._mine

        def ask() -> Answer:
            began = time.monotonic()
            self._connection.request("GET", f"/api/v1{path}", headers={"If-None-Match": tag} if is_conditional else {})
            response = self._connection.getresponse()
            return Answer(response.status, response.headers, response.read(), time.monotonic() - began)

        answer = self._noted(ask, is_write=False)
        if answer.status != 503:
            is_right = (answer.status, answer.headers["ETag"]) == (304 if is_conditional else 200, tag)
            what = f"{answer.status}, {answer.headers['ETag']} instead of {tag}: {answer.body!r}"
            self._notes.own.append("" if is_right else what)
        return answer

    def _noted(self, ask: Callable[[], Answer], *, is_write: bool) -> Answer:
        self._leave_ended()
        began = time.monotonic()
        try:
            answer = ask()
            status = answer.status
        except BROKEN:
            self.close()
            headers = http.client.HTTPMessage()
            headers["Retry-After"] = "1"
            body = orjson.dumps({"success": False, "data": None, "popup": None, "error": UNKNOWN})
            answer, status = Answer(503, headers, body, time.monotonic() - began), 0
        self._notes.requests.append(Request(time.monotonic(), answer.seconds, status, is_write))
        return answer

    def _leave_ended(self) -> None:
        """Do not use a connection that the service has ended meanwhile: as browsers, proxies and urllib3 do."""
        if self._connection.sock:
            poll = select.poll()
            poll.register(self._connection.sock, select.POLLIN)
            if poll.poll(0):
                self.close()
