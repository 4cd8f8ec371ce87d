"""HTTP requests as bytes, for what no client library would send."""

import http.client
import socket
from collections.abc import Mapping
from contextlib import suppress

import httpx

JSON = {"Content-Type": "application/json"}


def request(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request with these headers and no others, Host excepted. A header's characters are sent as latin-1."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in {"Host": "x", **(headers or {})}.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def sized(method: str, target: str, body: bytes, headers: Mapping[str, str] = JSON) -> bytes:
    """A request whose body has a Content-Length."""
    return request(method, target, {**headers, "Content-Length": str(len(body))}, body)


def chunked(method: str, target: str, body: bytes, headers: Mapping[str, str] = JSON, *, size: int = 65536) -> bytes:
    """A request whose body comes in chunks, and nothing says how long it will be."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    encoded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return request(method, target, {**headers, "Transfer-Encoding": "chunked"}, encoded + b"0\r\n\r\n")


def send(port: int, data: bytes, *, ends: bool = False) -> httpx.Response:
    """The answer to these bytes; with `ends`, the client says that no more will come."""
    with socket.create_connection(("127.0.0.1", port), timeout=40) as connection:
        # Who refuses a request need not read all of it.
        with suppress(ConnectionError):
            connection.sendall(data)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return answer(connection, data.split(b" ")[0].decode())


def answer(connection: socket.socket, method: str) -> httpx.Response:
    """The next answer on a connection, to a request of this method."""
    found = http.client.HTTPResponse(connection, method=method)
    found.begin()
    return httpx.Response(found.status, headers=found.getheaders(), content=found.read())
