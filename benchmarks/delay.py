"""A longer way to a server: `python -m benchmarks.delay SOCKET PORT MILLISECONDS` delays its answers."""

import asyncio
import sys


class Side(asyncio.Protocol):
    """One end of a connection; what it receives goes to the other end, `delay` seconds later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._before: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        for data in self._before:
            transport.write(data)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        assert self.other
        if self._delay:
            self._loop.call_later(self._delay, self.other.write, data)
        else:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport:
            self.transport.write(data)
        else:
            self._before.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other and self.other.transport:
            self._loop.call_later(self._delay, self.other.transport.close)


async def serve(path: str, port: int, delay: float) -> None:
    """Listen on the port, and lead to the Unix socket."""
    loop = asyncio.get_running_loop()
    connecting = set()

    def accept() -> Side:
        client, server = Side(0.0), Side(delay)
        client.other, server.other = server, client
        task = loop.create_task(loop.create_unix_connection(lambda: server, path))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return client

    listener = await loop.create_server(accept, "127.0.0.1", port)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
