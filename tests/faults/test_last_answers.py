"""A client reads its last answer whole, also where it goes on sending (RFC 9112, section 9.6)."""

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import raw
from tests.support.envelope import error_of
from tests.support.service import Service
from tests.support.waiting import wait_until

TASKS, HEALTH, SCRIPT = "/api/v1/tasks", "/api/v1/health", "/api/docs/redoc.standalone.js"
TOKEN = "right-token"
SMALL = b'{"title": "x"}'
REST = b"x" * 1_000_000

KEPT = {**raw.JSON, "Content-Length": str(len(SMALL))}
ENDS = {**KEPT, "Connection": "close"}
LARGE = {**raw.JSON, "Content-Length": str(len(REST))}
CHUNKED = {**raw.JSON, "Transfer-Encoding": "chunked"}
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}

LAST = {
    "401, then the body": (raw.request("POST", TASKS, ENDS), SMALL, 401),
    "401, then a large body": (raw.request("POST", TASKS, LARGE), REST, 401),
    "401, then chunks": (raw.request("POST", TASKS, CHUNKED), b"e\r\n" + SMALL + b"\r\n0\r\n\r\n", 401),
    "401 of HTTP/1.0, then the body": (
        f"POST {TASKS} HTTP/1.0\r\nHost: x\r\nContent-Length: {len(SMALL)}\r\n\r\n".encode(),
        SMALL,
        401,
    ),
    "404, then the body": (raw.request("POST", "/nothing", ENDS), SMALL, 404),
    "405, then the body": (raw.request("POST", "/api/docs", ENDS), SMALL, 405),
    "405, then a large body": (raw.request("POST", "/api/docs", LARGE), REST, 405),
    "413, then a part of the body": (
        raw.request("POST", TASKS, {**raw.JSON, **ALLOWED, "Content-Length": "9999999"}),
        REST,
        413,
    ),
    "400 for chunks, then more": (raw.request("POST", TASKS, {**CHUNKED, **ALLOWED}, b"zz\r\n"), REST, 400),
    "400 for a header, then the body": (raw.request("POST", TASKS, {**KEPT, "a b": "c"}), SMALL, 400),
    "400 for two lengths, then the body": (
        raw.request("POST", TASKS, {**KEPT, "content-length": str(len(SMALL))}),
        SMALL,
        400,
    ),
    "400 for a length, then the body": (raw.request("POST", TASKS, {**KEPT, "Content-Length": "+14"}), SMALL, 400),
    "400 for a coding, then the body": (
        raw.request("POST", TASKS, {**raw.JSON, "Transfer-Encoding": "x"}),
        SMALL,
        400,
    ),
    "414, then more of the line": (b"GET /" + b"x" * 20_000, REST, 414),
    "417, then the body": (raw.request("POST", TASKS, {**KEPT, "Expect": "x"}), SMALL, 417),
    "431, then more of the head": (b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000, REST, 431),
    "a last request, then one more": (
        raw.request("GET", "/nothing", {"Connection": "close"}),
        raw.request("GET", HEALTH),
        404,
    ),
}
"""What is sent until the service has answered and ended its half of the connection, what then, and the answer."""


@pytest.fixture(scope="module")
def guarded(module_database_url: str, reach: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for a token."""
    environment = {"DATABASE_URL": reach(module_database_url), "API_TOKENS": TOKEN}
    running = Service(environment, folder=tmp_path_factory.mktemp("guarded"), database_url=module_database_url)
    yield running
    running.kill()


def answer_after_end(connection: socket.socket, first: bytes, rest: bytes) -> httpx.Response:
    """The answer to `first`, read only after `rest` has been sent to a service that has answered and ended."""
    # It may be refused before all of it is there.
    with suppress(ConnectionError):
        connection.sendall(first)
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    assert poller.poll(30_000), "the service ends the connection"
    # The second send would fail if the first one was answered with a reset.
    for piece in (rest[:5], rest[5:]):
        connection.sendall(piece)
    answer = raw.answer(connection, "POST")
    assert connection.recv(1) == b""
    return answer


@pytest.mark.parametrize(("first", "rest", "status"), LAST.values(), ids=LAST)
def test_it_arrives(guarded: Service, first: bytes, rest: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=40) as connection:
        answer = answer_after_end(connection, first, rest)
    error_of(answer, status)
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("headers", [ENDS, {**LARGE, "Connection": "close"}], ids=["read", "left unread"])
def test_a_large_one_arrives(guarded: Service, headers: dict[str, str]) -> None:
    """What the system still has to send is lost when it resets a connection."""
    body = SMALL if headers is ENDS else REST
    whole = httpx.get(f"{guarded.url}{SCRIPT}", trust_env=False, verify=False).content
    assert len(whole) > 1_000_000
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(40)
        connection.connect(("127.0.0.1", guarded.port))
        connection.sendall(raw.request("GET", SCRIPT, headers))
        connection.sendall(body[:100_000])
        assert raw.answer(connection, "GET").content == whole


def test_it_arrives_while_the_service_ends(start_service: Any) -> None:
    service = start_service(API_TOKENS=TOKEN, WEB_CONCURRENCY="1")
    with socket.create_connection(("127.0.0.1", service.port), timeout=40) as connection:
        connection.sendall(raw.request("GET", HEALTH))
        kept = raw.answer(connection, "GET")
        assert (kept.status_code, kept.headers["Connection"]) == (200, "keep-alive")
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(service.port), "the service takes no new connections")
        error_of(answer_after_end(connection, raw.request("POST", TASKS, KEPT), SMALL), 401)
    assert service.stop() == 0


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_client_that_never_ends_is_left(guarded: Service) -> None:
    """One that keeps its half open is closed after a pause, and one that goes on sending after some megabytes."""
    for rest in (b"", bytes(64 * 1024 * 1024)):
        with socket.create_connection(("127.0.0.1", guarded.port), timeout=40) as connection:
            answer_after_end(connection, raw.request("POST", TASKS, LARGE), b"")
            with suppress(ConnectionError):
                connection.sendall(rest)
            wait_until(lambda: not descriptors(guarded, connection), "the service has let the connection go")


def descriptors(service: Service, connection: socket.socket) -> int:
    """How many connections to this client's port the kernel still holds open for the service."""
    ours = f"{connection.getsockname()[1]:04X}"
    established = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # With an inode, a process still has it; 0 stands for one that is only being wound up.
    return sum(
        fields[1].endswith(f":{service.port:04X}") and fields[2].endswith(ours) and fields[9] != "0"
        for fields in established
    )
