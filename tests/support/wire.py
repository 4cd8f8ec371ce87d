"""A proxy before a PostgreSQL socket that counts round trips: what the server was asked, not what the driver tells."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, quote

READY_FOR_QUERY = ord("Z")


class Wire:
    """Listens in `folder`, and passes everything on to the server of `url`; `url` of its own leads through it.

    The server says ReadyForQuery once at a connection's start and then once for each round trip.
    """

    def __init__(self, url: str, folder: Path) -> None:
        address, _, query = url.partition("?")
        options = parse_qs(query)
        self._name = f".s.PGSQL.{options['port'][0]}"
        self._server = f"{options['host'][0]}/{self._name}"
        self._folder = folder
        self.url = f"{address}?host={quote(str(folder))}&port={options['port'][0]}"
        self.round_trips = 0
        self._counting = threading.Lock()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "Wire":
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / self._name))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for open_socket in [self._listener, *self._sockets]:
            # close() alone would leave the thread that reads it waiting.
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._sockets += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        """Messages of the server: a byte for the kind, four for the length that follows, and the rest."""
        pending, connected = b"", False
        with suppress(OSError):
            while data := server.recv(65536):
                pending += data
                while len(pending) >= 5 and len(pending) > (length := int.from_bytes(pending[1:5], "big")):
                    if pending[0] == READY_FOR_QUERY:
                        with self._counting:
                            self.round_trips += connected
                        connected = True
                    pending = pending[1 + length :]
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
