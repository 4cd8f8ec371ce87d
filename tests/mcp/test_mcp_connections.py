"""MCP over HTTP among idle and slow connections, and from a browser's page: who has a token is served."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from taskapi.mcp import connections, http
from taskapi.settings import Settings
from tests.mcp.agent import HttpServer, request
from tests.support.waiting import wait_until

LIST = request("tools/list", {})

ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def guarded(
    module_database_url: str, reach: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServer]:
    """A server with a token, for the pages of one origin."""
    settings = {"DATABASE_URL": reach(module_database_url), "API_TOKENS": "right", "CORS_ORIGINS": ORIGIN}
    server = HttpServer(settings, tmp_path_factory.mktemp("http"))
    yield server
    server.stop()


HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n"], ids=["nothing", "half a head", "no body"])
def test_idle_connections_shut_nobody_out(guarded: HttpServer, sent: bytes) -> None:
    with ExitStack() as stack:
        idle = []
        for _ in range(connections.MAX_WAITING + 50):
            idle.append(stack.enter_context(socket.create_connection(("127.0.0.1", guarded.port), timeout=20)))
            # The server may have ended it already.
            with suppress(OSError):
                idle[-1].sendall(sent)
        # On a connection of its own: one that is kept may be the oldest.
        headers = {
            "Authorization": "Bearer right",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        assert httpx2.post(guarded.url, content=LIST, headers=headers, trust_env=False).status_code == 200
        # The oldest was ended.
        _until_the_end(idle[0])


def test_mcp_with_a_slash_at_its_end(guarded: HttpServer) -> None:
    guarded.url += "/"
    try:
        answer = guarded.post(LIST, authorization="Bearer right")
        assert answer.status_code == 200
        assert answer.json()["result"]["tools"]
        assert guarded.post(LIST).status_code == 401
    finally:
        guarded.url = guarded.url.removesuffix("/")


# Pages of other origins


def preflight(server: HttpServer, origin: str) -> Any:
    asked = "authorization,content-type,mcp-protocol-version,mcp-method,mcp-name"
    return server.post(
        b"",
        "OPTIONS",
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers=asked,
    )


def test_a_page_that_is_let_in_may_ask_and_read(guarded: HttpServer) -> None:
    allowed = preflight(guarded, ORIGIN)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert allowed.headers["Access-Control-Allow-Methods"] == "POST"
    assert "mcp-protocol-version" in allowed.headers["Access-Control-Allow-Headers"]
    for token, status in (("right", 200), ("wrong", 401)):
        answer = guarded.post(LIST, origin=ORIGIN, authorization=f"Bearer {token}")
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil.example"])
def test_another_page_is_not_told_anything(guarded: HttpServer, origin: str) -> None:
    for answer in (preflight(guarded, origin), guarded.post(LIST, origin=origin, authorization="Bearer right")):
        assert answer.status_code in (400, 403)
        assert "Access-Control-Allow-Origin" not in answer.headers


# Limits, made short


@contextmanager
def serving(app: Any) -> Iterator[tuple[str, int]]:
    """The application, served as the MCP server is: yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=connections.Connection, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started, "the server is there")
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the body and answers."""
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("read")(scope, receive, send)


HALF_A_BODY = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"


@pytest.mark.parametrize(
    "sent",
    [b"", HEAD, b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\nGET"],
    ids=["nothing", "half a head", "nothing more", "half another head"],
)
def test_a_connection_ends_that_sends_no_request(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with serving(echo) as address, socket.create_connection(address, timeout=20) as client:
        client.sendall(sent)
        assert _until_the_end(client).count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\n")


def test_a_body_that_nobody_reads_does_not_keep_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    app = http.AccessMiddleware(echo, Settings(api_tokens=("right",)))
    with serving(app) as address, socket.create_connection(address, timeout=20) as client:
        client.sendall(HALF_A_BODY)
        assert b"HTTP/1.1 401" in _until_the_end(client)


def test_a_body_has_limited_time() -> None:
    with serving(http.AccessMiddleware(echo, Settings(request_deadline=0.3))) as address:
        with socket.create_connection(address, timeout=20) as client:
            client.sendall(HALF_A_BODY)
            assert b"HTTP/1.1 408" in _until_the_end(client)
        with socket.create_connection(address, timeout=20) as client:
            client.sendall(HALF_A_BODY + b" and\n")
            assert b"HTTP/1.1 200" in client.recv(1000)


def test_so_many_requests_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REQUESTS", 2)
    with serving(http.AccessMiddleware(echo, Settings())) as address, ExitStack() as clients:
        slow = [clients.enter_context(socket.create_connection(address, timeout=20)) for _ in range(2)]
        for client in slow:
            client.sendall(HALF_A_BODY)
        _eventually(address, b"HTTP/1.1 503")
        for client in slow:
            client.sendall(b" and\n")
            assert b"HTTP/1.1 200" in client.recv(1000)
        _eventually(address, b"HTTP/1.1 200")


def _eventually(address: tuple[str, int], expected: bytes) -> None:
    def answered() -> bool:
        with socket.create_connection(address, timeout=20) as client:
            client.sendall(b"POST /mcp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return expected in _until_the_end(client)

    wait_until(answered, f"{expected!r} is the answer")


def _until_the_end(client: socket.socket) -> bytes:
    """What comes until the server ends the connection; it may do so at once."""
    received = b""
    try:
        while piece := client.recv(4096):
            received += piece
    except ConnectionResetError:
        pass
    return received
