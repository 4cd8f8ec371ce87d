"""An AI agent's side of the protocol: the SDK's client over a real transport, and raw bytes for what it never sends."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from anyio.from_thread import start_blocking_portal
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from taskapi.places import ROOT
from tests.support.environment import environment_of
from tests.support.service import free_port
from tests.support.waiting import START, wait_until

COMMAND = [sys.executable, "-m", "taskapi.mcp"]


def text_of(result: CallToolResult) -> str:
    """The text that the result consists of."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


class Agent:
    """A connected MCP client whose calls wait for their answers."""

    def __init__(self, transport: Any, *, mode: str = "auto", http_client: httpx2.AsyncClient | None = None) -> None:
        """Connect; `http_client` is what the transport uses, and is closed with the agent."""
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            if http_client:
                stack.enter_context(self._portal.wrap_async_context_manager(http_client))
            client = Client(transport, mode=mode, read_timeout_seconds=60)
            self.client = stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def tools(self) -> list[Any]:
        """What the server tells about its tools."""
        return self._portal.call(self.client.list_tools).tools

    def call(self, tool: str, /, **arguments: Any) -> CallToolResult:
        """The result of the call, be it an answer or an error."""
        return self._portal.call(partial(self.client.call_tool, tool, arguments))

    def answer(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured answer; the client has checked it against the tool's output schema."""
        result = self.call(tool, **arguments)
        assert not result.is_error, text_of(result)
        answer: dict[str, Any] = json.loads(text_of(result))
        assert answer == result.structured_content
        return answer

    def refusal(self, tool: str, /, **arguments: Any) -> str:
        """The sentence with which the call is refused."""
        result = self.call(tool, **arguments)
        assert result.is_error, result.structured_content
        return text_of(result)

    def create(self, *titles: str) -> list[str]:
        """Create tasks; return their ids."""
        return [task["id"] for task in self.answer("create_tasks", tasks=[{"title": t} for t in titles])["tasks"]]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: these settings and nothing of ours, PATH excepted."""
    return environment_of(PYTHONPATH=str(ROOT), **settings)


@contextmanager
def stdio_agent(settings: Mapping[str, str], folder: Path, *, mode: str = "auto") -> Iterator[Agent]:
    """An agent with a server of its own, started in `folder` as desktop clients start it."""
    server = StdioServerParameters(
        command=COMMAND[0], args=COMMAND[1:], env={**environment(settings), "HOME": str(folder)}, cwd=str(folder)
    )
    log = (folder / "stdio.log").open("w")
    with log, closing(Agent(stdio_client(server, errlog=log), mode=mode)) as agent:
        yield agent


class HttpServer:
    """`python -m taskapi.mcp --http` on a free port."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        self.settings = settings
        self.port = free_port()
        self._client = httpx2.Client(timeout=30, trust_env=False, verify=False)
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self._log = folder / f"mcp-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--http", "--port", str(self.port)],
                cwd=folder,
                env=environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._answers, f"the server answers:\n{self.log}", seconds=START)
        except BaseException:
            # Or it would fail a later test, which has nothing to do with it.
            self.stop()
            raise

    @property
    def log(self) -> str:
        """Everything that the server has printed."""
        return self._log.read_text()

    @contextmanager
    def agent(self, token: str | None = None, *, change_set: str | None = None, mode: str = "auto") -> Iterator[Agent]:
        """An agent of this server, with a token or without, and with a Change-Set or without."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Change-Set": change_set} if change_set else {}
        client = httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False, verify=False)
        with closing(
            Agent(streamable_http_client(self.url, http_client=client), mode=mode, http_client=client)
        ) as agent:
            yield agent

    def post(self, content: Any, method: str = "POST", **headers: str) -> httpx2.Response:
        """A request as no client sends it; headers have _ for -."""
        usual = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.request(method, self.url, content=content, headers={**usual, **given})

    def stop(self) -> None:
        """End it as a deploy does."""
        self._client.close()
        self.process.terminate()
        self.process.wait(30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self._client.get(self.url).status_code > 0
        except httpx2.TransportError:
            return False


class Lines:
    """A server on stdio, and the bytes between it and us."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        self._log = (folder / "lines.log").open("wb")
        self.process = subprocess.Popen(
            COMMAND,
            cwd=folder,
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._answers.put(line)

    def exchange(self, line: bytes) -> dict[str, Any]:
        """Send a line; return the answer to it."""
        self.send(line)
        answer: dict[str, Any] = json.loads(self._answers.get(timeout=30))
        assert answer["jsonrpc"] == "2.0"
        return answer

    def send(self, line: bytes) -> None:
        """Send a line that has no answer."""
        assert self.process.stdin
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def shake_hands(self) -> None:
        """What a client says first."""
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.exchange(request("initialize", client))
        self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    def end_input(self) -> list[dict[str, Any]]:
        """Close stdin, which ends the server; return what it answered until then, in that order."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)
        self._reader.join()
        return [json.loads(self._answers.get_nowait()) for _ in range(self._answers.qsize())]

    def close(self) -> int:
        """Close stdin; return the exit code of the server, which that ends. Nothing else was on its stdout."""
        assert self.process.stdin
        self.process.stdin.close()
        code = self.process.wait(30)
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()
        self._log.close()
        assert self._answers.empty()
        return code


def request(method: str, params: Any, number: int = 1) -> bytes:
    """A JSON-RPC request in one line; lone surrogates and numbers of any size included."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def call(tool: str, arguments: Any, *, number: int = 1, **meta: Any) -> bytes:
    """A call of a tool."""
    return request("tools/call", {"name": tool, "arguments": arguments, **meta}, number)


def modern(tool: str, arguments: Any) -> tuple[bytes, dict[str, str]]:
    """The same for clients that shake no hands: the body, and the headers that go with it."""
    version = "2026-07-28"
    prefix = "io.modelcontextprotocol/"
    meta = {f"{prefix}protocolVersion": version, f"{prefix}clientCapabilities": {}}
    headers = {"mcp_protocol_version": version, "mcp_method": "tools/call", "mcp_name": tool}
    return call(tool, arguments, _meta=meta), headers
