"""Clients that follow the changes: many at once, read by one thread; and one that comes back whenever it must."""

import re
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from http.client import HTTPException

import httpx
import orjson

from tests.support.closing import Closing

REQUEST = b"GET /api/v1/changes?after=%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s\r\n"
ENTRY = re.compile(rb'data: \{"history_id":"([0-9a-f-]{36})"')

POLLS = """
SELECT coalesce(sum(calls), 0)
FROM pg_stat_statements
JOIN pg_database ON dbid = pg_database.oid
WHERE datname = current_database() AND query LIKE '%unseen%'
"""


class Streams(Closing):
    """Server-sent events as they come: of each stream, the ids of its entries, and when each one came."""

    def __init__(self, port: int, count: int, cursor: str, tokens: Sequence[str] = ()) -> None:
        """Open so many streams after the cursor, each with the token at its place; return when each one has begun."""
        self.seen: list[dict[str, float]] = [{} for _ in range(count)]
        self.text = [b""] * count
        self.ended = 0
        self._selector = selectors.DefaultSelector()
        self._sockets = []
        for number in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            header = f"Authorization: Bearer {tokens[number]}\r\n" if tokens else ""
            connection.sendall(REQUEST % (cursor.encode(), header.encode()))
            self._sockets.append(connection)
            self._selector.register(connection, selectors.EVENT_READ, number)
        self._is_closing = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def begun(self) -> int:
        """How many streams have begun."""
        return sum(b"retry: " in text for text in self.text)

    def close(self) -> None:
        self._is_closing = True
        self._thread.join()
        for connection in self._sockets:
            connection.close()
        self._selector.close()

    def _read(self) -> None:
        while not self._is_closing:
            for key, _ in self._selector.select(0.1):
                connection: socket.socket = key.fileobj  # type: ignore[assignment]
                data, now = connection.recv(65536), time.monotonic()
                if not data:
                    self._selector.unregister(connection)
                    self.ended += 1
                before = len(self.text[key.data])
                self.text[key.data] += data
                for found in ENTRY.finditer(self.text[key.data], max(0, before - 100)):
                    self.seen[key.data].setdefault(found[1].decode(), now)


class Faithful(threading.Thread):
    """A client that follows by server-sent events, and comes back with the last id whenever its stream ends."""

    def __init__(self, url: str, cursor: str) -> None:
        super().__init__(daemon=True)
        self.items: dict[str, dict[str, object]] = {}
        self.begun = self.repeated = 0
        self.statuses: set[int] = set()
        self.broken: list[str] = []
        self.comments: set[str] = set()
        self.leaving = threading.Event()
        self._url = url
        self._cursor = cursor

    def run(self) -> None:
        while not self.leaving.is_set():
            try:
                with httpx.Client(base_url=self._url, timeout=30, trust_env=False) as client:
                    self._follow(client)
            except (httpx.TransportError, HTTPException, OSError) as error:
                self.broken.append(repr(error))
            self.leaving.wait(0.05)

    def _follow(self, client: httpx.Client) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": self._cursor}
        with client.stream("GET", "/api/v1/changes", headers=headers) as answer:
            self.statuses.add(answer.status_code)
            if answer.status_code != 200:
                return
            self.begun += 1
            last_id = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    last_id = value
                elif name == "data":
                    item = orjson.loads(value)
                    self.repeated += item["history_id"] in self.items
                    self.items[item["history_id"]] = item
                elif line and name != "retry":
                    self.comments.add(line)
                elif last_id:
                    self._cursor = last_id
                if self.leaving.is_set():
                    return

    def leave(self) -> None:
        """Follow no longer; noticed with the next line."""
        self.leaving.set()
