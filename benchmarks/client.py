"""HTTP clients that cost next to nothing themselves: one request after the other, or so many a second."""

import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


def message(method: str, path: str, body: object = None, **headers: str) -> bytes:
    """A request as bytes; headers have _ for -."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


class Client:
    """One connection at a time. `request` returns an answer's JSON; `seconds` and `size` tell what it took, and `head`
    what came before the body."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket = _connected(url)
        self.seconds = 0.0
        self.size = 0
        self.head = ""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The answer's JSON; None for an empty one.

        Raises RuntimeError for any answer from 400 on, ConnectionError where the server goes away.
        """
        data = message(method, path, body, **headers)
        if select.select([self._socket], [], [], 0)[0]:
            # Nobody has asked for so long that the server has closed the connection.
            self._socket.close()
            self._socket = _connected(self._url)
        started = time.perf_counter()
        self._socket.sendall(data)
        answer = bytearray()
        while (length := _length(answer)) is None or len(answer) < length:
            if not (part := self._socket.recv(1 << 20 if answer else 1 << 16)):
                raise ConnectionError(f"{method} {path}: the server closed the connection")
            answer += part
        self.seconds = time.perf_counter() - started
        self.size = len(answer)
        if answer[9:10] >= b"4":
            raise RuntimeError(f"{method} {path}: {answer.decode()}")
        head, _, content = answer.partition(b"\r\n\r\n")
        self.head = head.decode()
        return json.loads(content) if content else None

    def header(self, name: str) -> str:
        """A header of the last answer."""
        for line in self.head.splitlines():
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        raise KeyError(name)


@dataclass(frozen=True)
class Latencies:
    """Milliseconds from the moment when each request was due, whether it could be sent then or not."""

    values: list[float]
    errors: int

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def fixed_rate(url: str, messages: Callable[[], bytes], *, rate: float, connections: int, seconds: float) -> Latencies:
    """Send requests at moments fixed beforehand, on whichever connection is free; a late answer delays nobody's clock.

    The second half of a run counts: the first warms up.
    """
    poller = select.epoll()
    sockets = {one.fileno(): one for one in (_connected(url) for _ in range(connections))}
    for descriptor in sockets:
        poller.register(descriptor, select.EPOLLIN)
    idle, waiting = deque(sockets), deque[float]()
    answers: dict[int, tuple[float, bytearray]] = {}
    values: list[float] = []
    errors = 0
    start = time.perf_counter() + 0.1
    dues = _dues(start, rate, seconds)
    due = next(dues)
    while due or waiting or answers:
        now = time.perf_counter()
        while due and due <= now:
            waiting.append(due)
            due = next(dues, 0.0)
        while waiting and idle:
            descriptor = idle.popleft()
            answers[descriptor] = (waiting.popleft(), bytearray())
            sockets[descriptor].send(messages())
        for descriptor, _ in poller.poll(max(0.0, due - time.perf_counter()) if due else 30):
            asked, answer = answers[descriptor]
            answer += sockets[descriptor].recv(65536)
            length = _length(answer)
            if length is not None and len(answer) >= length:
                del answers[descriptor]
                idle.append(descriptor)
                errors += answer[9:10] >= b"4"
                if asked > start + seconds / 2:
                    values.append((time.perf_counter() - asked) * 1000)
    for one in sockets.values():
        one.close()
    return Latencies(values, errors)


def _dues(start: float, rate: float, seconds: float) -> Iterator[float]:
    return (start + number / rate for number in range(int(rate * seconds)))


def _length(answer: bytearray) -> int | None:
    """How long the whole answer will be; None while its head is not there."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return None
    fields = bytes(answer[:head]).lower()
    if fields[9:12] == b"304":
        return head + 4
    begin = fields.index(b"content-length: ") + 16
    return head + 4 + int(fields[begin:].partition(b"\r\n")[0])


def _connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
