"""A key server that hangs, is down or rotates its keys: who has a known key notices nothing, over REST and over MCP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from taskapi.errors import KeysUnavailable
from taskapi.key_server import PATIENCE, PAUSE
from tests.mcp.agent import HttpServer, call
from tests.support import jwts
from tests.support.jwts import KeyHost, after, jwk, key, token
from tests.support.service import Service, free_port
from tests.support.waiting import wait_until

Told = tuple[int, str, str | None]
"""An answer's status, its text and its Retry-After."""

Ask = Callable[[str], Told]
"""From a token to the answer."""

OLD, NEW = "old", "new"
RETRY_AFTER = str(KeysUnavailable.retry_after)


def made(name: str, **claims: Any) -> str:
    return token(key("Ed25519", 1 if name == OLD else 2), "EdDSA", kid=name, **claims)


def public(name: str) -> dict[str, Any]:
    return jwk(key("Ed25519", 1 if name == OLD else 2), kid=name)


def over_rest(service: Service) -> Ask:
    client = service.client()

    def ask(text: str) -> Told:
        answer = client.get("/api/v1/tasks", headers={"Authorization": f"Bearer {text}"})
        return answer.status_code, answer.text, answer.headers.get("Retry-After")

    return ask


def over_mcp(server: HttpServer) -> Ask:
    def ask(text: str) -> Told:
        answer = server.post(call("list_tasks", {}), authorization=f"Bearer {text}")
        return answer.status_code, answer.text, answer.headers.get("Retry-After")

    return ask


class Both:
    """The service and the MCP server, each with one process, which know the keys at a URL."""

    def __init__(self, service: Service, mcp: HttpServer) -> None:
        self._service, self._mcp = service, mcp
        self.asks = {"REST": over_rest(service), "MCP": over_mcp(mcp)}

    @property
    def log(self) -> str:
        return self._service.log + self._mcp.log


@pytest.fixture
def start(
    start_service: Any, database_url: str, reach: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[[str], Both]]:
    with ExitStack() as servers:

        def both(url: str) -> Both:
            settings = {"JWT_JWKS_URL": url, "API_TOKENS": "robot:machine-token"}
            mcp = HttpServer({"DATABASE_URL": reach(database_url), **settings}, tmp_path)
            servers.callback(mcp.stop)
            return Both(start_service(database_url, **settings), mcp)

        yield both


def test_new_keys_of_a_slow_key_server(start: Callable[[str], Both], figure: Callable[[str], None]) -> None:
    gate = threading.Event()
    with KeyHost(public(OLD)) as host, ThreadPoolExecutor() as threads:
        both = start(host.url)
        for ask in both.asks.values():
            assert ask(made(OLD))[0] == 200
            assert ask(made(NEW))[0] == 401
        assert host.asked == 2, "once each"

        host.reply = after(gate, jwts.keys(public(NEW)))

        def unknown(ask: Ask) -> Told:
            """The answer of who waits for the key server, as soon as that is asked again."""
            while (answer := ask(made(NEW)))[0] == 401:
                time.sleep(0.1)
            return answer

        waiting = [threads.submit(unknown, ask) for ask in both.asks.values()]
        wait_until(lambda: host.asked == 4, "both ask again", seconds=PAUSE + 20)
        waiting += [
            threads.submit(ask, made(NEW, jti=str(number))) for number in range(5) for ask in both.asks.values()
        ]
        longest = 0.0
        for number in range(5):
            for ask in both.asks.values():
                began = time.monotonic()
                # Each time another token: none of them is remembered.
                assert ask(made(OLD, jti=str(number)))[0] == 200
                assert ask("machine-token")[0] == 200
                longest = max(longest, time.monotonic() - began)
        assert not any(one.done() for one in waiting), "they waited for the key server"

        gate.set()
        assert [one.result()[0] for one in waiting] == [200] * 12
        for ask in both.asks.values():
            assert ask(made(OLD))[0] == 401
            assert ask("machine-token")[0] == 200
        assert host.asked == 4
    assert "Traceback" not in both.log
    figure(f"two requests took at most {longest * 1000:.0f} ms while others waited for the key server")


def assert_unavailable(told: Told) -> None:
    status, text, retry_after = told
    assert (status, retry_after) == (503, RETRY_AFTER)
    assert KeysUnavailable.sentence in text


def test_a_key_server_that_hangs(start: Callable[[str], Both]) -> None:
    gate = threading.Event()
    with KeyHost() as host, ThreadPoolExecutor() as threads:
        host.reply = after(gate, host.reply)
        both = start(host.url)
        waiting = [threads.submit(ask, made(name)) for name in (OLD, NEW) for ask in both.asks.values()]
        wait_until(lambda: host.asked == 2, "both ask")
        for ask in both.asks.values():
            for _ in range(10):
                assert ask("machine-token")[0] == 200
                assert ask("garbage")[0] == 401
        assert not any(one.done() for one in waiting), "they waited for the key server"
        for one in waiting:
            assert_unavailable(one.result(PATIENCE + 20))
        for ask in both.asks.values():
            assert_unavailable(ask(made(OLD)))
        assert host.asked == 2
        gate.set()
    assert both.log.count("the keys at JWT_JWKS_URL cannot be fetched: ") == 2
    assert "Traceback" not in both.log


def test_a_key_server_that_is_down(start_service: Any) -> None:
    service = start_service(JWT_JWKS_URL=f"http://127.0.0.1:{free_port()}/keys", API_TOKENS="machine-token")
    ask = over_rest(service)
    for text in (made(OLD), made(NEW), made(OLD)):
        assert_unavailable(ask(text))
    assert json.loads(ask(made(OLD))[1])["success"] is False
    assert ask("garbage")[0] == 401
    assert ask("machine-token")[0] == 200
    log = service.log
    assert log.count("the keys at JWT_JWKS_URL cannot be fetched: ") == 1, "however many ask"
    assert "Traceback" not in log
    assert not [part for part in made(OLD).split(".")[1:] if part in log]
