"""A TCP proxy that passes everything on, until it is told to misbehave: to swallow, to delay, to lose answers."""

import socket
import threading
import time
from contextlib import suppress
from enum import Enum
from types import TracebackType
from urllib.parse import parse_qs

Fate = Enum("Fate", ["PASS", "DROP", "CUT"])
"""A piece goes on; vanishes; or ends its connection."""


class Proxy:
    """Listens on a port of this machine, and leads to `target`: the path of a Unix socket, or a TCP port.

    While `swallowing`, bytes vanish in both directions, and new connections get no answer. `delay` holds each piece
    of an answer back for so many seconds. While `losing`, a connection ends instead of passing an answer on. A subclass
    may decide about each piece by itself. `instead` comes once, in the place of the next piece of an answer. `target`
    may change: for connections that are opened afterwards.
    """

    def __init__(self, target: str | int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.swallowing = False
        self.losing = False
        self.delay = 0.0
        self.instead = b""
        self.lost = 0
        self._open: set[socket.socket] = set()
        self._bitten: set[socket.socket] = set()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # close() alone would leave the thread that waits on it waiting.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut(self._open)

    def cut(self, sockets: set[socket.socket]) -> None:
        """End these connections."""
        for end in list(sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Swallow no more. What has lost bytes ends, as it does when a firewall comes back."""
        self.swallowing = False
        self.cut(self._bitten)
        self._bitten.clear()

    def fate(self, data: bytes, is_answer: bool) -> Fate:
        """What becomes of a piece that has come."""
        if self.swallowing:
            return Fate.DROP
        if is_answer and self.losing:
            self.lost += 1
            return Fate.CUT
        return Fate.PASS

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                for source, sink, is_answer in ((client, server, False), (server, client, True)):
                    source_and_sink = (source, sink, is_answer)
                    threading.Thread(target=self._pass_on, args=source_and_sink, daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self.target, int):
            return socket.create_connection(("127.0.0.1", self.target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.target)
        return server

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        self._open.add(source)
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.delay:
                    time.sleep(self.delay)
                if is_answer and self.instead:
                    data, self.instead = self.instead, b""
                fate = self.fate(data, is_answer)
                if fate is Fate.CUT:
                    break
                if fate is Fate.DROP:
                    self._bitten |= {source, sink}
                else:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


def before_database(url: str) -> tuple[Proxy, str]:
    """A proxy before the database of a direct address, and the address that leads through it."""
    proxy = Proxy(socket_of(url))
    return proxy, through(proxy, url)


def socket_of(url: str) -> str:
    """The path of the Unix socket in a direct address."""
    options = parse_qs(url.partition("?")[2])
    return f"{options['host'][0]}/.s.PGSQL.{options['port'][0]}"


def through(proxy: Proxy, url: str) -> str:
    """The address that leads through the proxy to the database of a direct one."""
    return f"{url.partition('?')[0]}?host=127.0.0.1&port={proxy.port}"
