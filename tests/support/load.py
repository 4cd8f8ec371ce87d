"""Clients that keep their connection, as browsers and load balancers do; and a crowd of them."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from tests.support.closing import Closing

BROKEN = (OSError, http.client.HTTPException)
"""What a client meets instead of an answer: a connection that is refused, cut or silent."""

PATIENCE = 45.0
"""Seconds without a byte after which a client gives up: longer than any answer may take."""


@dataclass(frozen=True)
class Answer:
    """An answer, and the seconds from the request to its last byte."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float

    @property
    def envelope(self) -> dict[str, Any]:
        envelope: dict[str, Any] = orjson.loads(self.body)
        assert set(envelope) == {"success", "data", "popup", "error"}, envelope
        return envelope

    @property
    def data(self) -> Any:
        return self.envelope["data"]


class Client(Closing):
    """One connection, opened when it is needed, and kept until the service says that it ends."""

    def __init__(self, port: int, *, patience: float = PATIENCE) -> None:
        """`patience`: seconds without a byte after which it gives up."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
        self.token: str | None = None
        """What its requests carry from now on."""

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Answer:
        """Send a request under /api/v1, and never send it again. Raises one of BROKEN when no whole answer comes."""
        headers = {"Idempotency-Key": key} if key else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        started = time.monotonic()
        try:
            self._connection.request(
                method, f"/api/v1{path}", orjson.dumps(body) if body is not None else None, headers
            )
            response = self._connection.getresponse()
            return Answer(response.status, response.headers, response.read(), time.monotonic() - started)
        except BROKEN:
            self._connection.close()
            raise

    def create(self, title: str, *, key: str | None = None) -> Answer:
        return self.request("POST", "/tasks", {"title": title}, key=key)


@contextmanager
def crowd(port: int, count: int, work: Callable[[Client, int], None]) -> Iterator[None]:
    """While inside, `count` clients repeat `work(client, number)`. Afterwards raises what one of them raised."""
    ending = threading.Event()
    errors: list[BaseException] = []

    def repeat(number: int) -> None:
        client = Client(port)
        try:
            while not ending.is_set() and not errors:
                work(client, number)
        except BaseException as error:  # noqa: BLE001  (it is raised again below)
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()
        if errors:
            # Rather than what followed from it, such as a wait in vain.
            raise errors[0]


def at_once(port: int, count: int, work: Callable[[Client, int], Answer]) -> list[Answer]:
    """The answers of `count` clients that do `work` once, all at the same moment."""
    answers: dict[int, Answer] = {}
    barrier = threading.Barrier(count)

    def once(client: Client, number: int) -> None:
        if number not in answers:
            barrier.wait()
            answers[number] = work(client, number)
        time.sleep(0.01)

    with crowd(port, count, once):
        while len(answers) < count:
            time.sleep(0.01)
    return list(answers.values())
