"""Clients that keep a TLS connection to a proxy, and know no more of a write than what the proxy answers."""

import http.client
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPMessage

import orjson

from tests.support.ledger import UNKNOWN
from tests.support.load import BROKEN, PATIENCE, Answer, Client, crowd


class TlsClient(Client):
    """One connection, over TLS."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        super().__init__(port)
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=tls)


class Careful(TlsClient):
    """Takes a broken connection, and an answer of the proxy's own, for what they are: the write may have happened.

    `seen` counts them.
    """

    def __init__(self, port: int, tls: ssl.SSLContext, seen: Counter[str]) -> None:
        super().__init__(port, tls)
        self._seen = seen

    def request(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Answer:
        try:
            answer = super().request(method, path, body, key=key)
        except BROKEN as error:
            self._seen[f"{method}: {type(error).__name__}"] += 1
            return _unknown()
        if answer.headers.get_content_type() == "application/json":
            return answer
        assert answer.status in (502, 503, 504), f"{answer.status}: {answer.body!r}"
        self._seen[f"{method}: {answer.status} of the proxy"] += 1
        return _unknown()


@contextmanager
def tls_crowd(
    port: int, count: int, make: Callable[[], Client], work: Callable[[Client, int], object]
) -> Iterator[None]:
    """While inside, `count` clients that `make` has made repeat `work(client, number)`."""
    clients: dict[int, Client] = {}
    made = threading.Lock()

    def step(_: Client, number: int) -> None:
        if number not in clients:
            with made:
                clients[number] = make()
        work(clients[number], number)

    try:
        # The crowd's own clients never connect.
        with crowd(port, count, step):
            yield
    finally:
        for client in clients.values():
            client.close()


def _unknown() -> Answer:
    headers = HTTPMessage()
    headers["Retry-After"] = "1"
    envelope = {"success": False, "data": None, "popup": None, "error": f"{UNKNOWN}: of this the proxy says nothing."}
    return Answer(503, headers, orjson.dumps(envelope), 0.0)
