"""Clients that send without end, faster than they are read, and come back as soon as they are shut out."""

import select
import socket
import threading
from contextlib import suppress
from itertools import cycle

from tests.support import raw
from tests.support.closing import Closing

TASKS, HEALTH = "/api/v1/tasks", "/api/v1/health"
ENDLESS = {**raw.JSON, "Content-Length": str(10**12)}
CHUNKED = {**raw.JSON, "Transfer-Encoding": "chunked"}

FLOODS = {
    "a body with a length": (raw.request("POST", TASKS, ENDLESS), b"x" * 65536),
    "a body in chunks": (raw.request("POST", TASKS, CHUNKED), b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "a body in chunks of a byte": (raw.request("POST", TASKS, CHUNKED), b"1\r\nx\r\n" * 10_000),
    "a body where none is read": (raw.request("GET", HEALTH, ENDLESS), b"x" * 65536),
    "chunks where none are read": (raw.request("GET", HEALTH, CHUNKED), b"1\r\nx\r\n" * 10_000),
    "a body of an unknown path": (raw.request("POST", "/nothing", CHUNKED), b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "a first line": (b"GET /", b"x" * 65536),
    "a head": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000),
    "line ends": (b"", b"\r\n" * 30_000),
    "a chunk's extension": (raw.request("POST", TASKS, CHUNKED, b"1;x="), b"x" * 65536),
    "trailers": (raw.request("POST", TASKS, CHUNKED, b"0\r\n"), b"X: y\r\n" * 10_000),
    "requests": (b"", raw.request("GET", HEALTH) * 1000),
    "requests that are refused": (b"", raw.request("GET", "/nothing") * 1000),
    "preflights": (b"", raw.request("OPTIONS", TASKS, {"Origin": "http://localhost:3000"}) * 1000),
    "expectations": (b"", raw.sized("POST", "/nothing", b"{}", {**raw.JSON, "Expect": "100-continue"}) * 1000),
    "small bodies": (b"", raw.sized("POST", TASKS, b"[]") * 1000),
}
"""What is sent first on each connection, and what is repeated behind it."""


class Flood(Closing):
    """So many clients, each a thread, from the start until the end of a with block."""

    def __init__(self, port: int, first: bytes, repeated: bytes, *, clients: int) -> None:
        self.sent = [0] * clients
        self._port, self._first, self._repeated = port, first, repeated
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        while not self._ending.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(self._first)
                for piece in cycle([memoryview(self._repeated)]):
                    self._send_piece(connection, piece, number)

    def _send_piece(self, connection: socket.socket, piece: memoryview, number: int) -> None:
        """Send it, and read meanwhile whatever comes. Raises OSError when the flood or the connection ends."""
        while piece:
            readable, writable, _ = select.select([connection], [connection], [], 0.1)
            if self._ending.is_set() or (readable and not connection.recv(65536)):
                raise ConnectionError
            if writable:
                count = connection.send(piece)
                self.sent[number] += count
                piece = piece[count:]
