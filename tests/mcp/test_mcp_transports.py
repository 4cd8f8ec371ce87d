"""The two transports: who is let in, what is no message, and how a server starts and ends."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskapi.access import CHALLENGE
from taskapi.errors import NoAccess
from tests.mcp.agent import COMMAND, HttpServer, Lines, call, environment, modern, request, stdio_agent
from tests.support import raw
from tests.support.folders import short_folder
from tests.support.sql import Sql

LIST = request("tools/list", {})

# Who is let in over HTTP


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:{port}"}, 200),
        ({"host": "LOCALHOST.:{port}"}, 200),
        ({"host": "[0:0::1]:{port}"}, 200),
        ({"host": "localhost.."}, 421),
        ({"host": "localhost:{port}:1"}, 421),
        ({"host": "evil.example"}, 421),
        ({"host": ""}, 421),
        ({"host": "127.0.0.1.evil.example:{port}"}, 421),
        ({"host": "127.0.0.1:1"}, 421),
        ({"origin": "http://127.0.0.1:{port}"}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "http://localhost:3001"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content_type": "text/plain"}, 400),
        ({"content_type": "Application/JSON; charset=UTF-8"}, 200),
        ({"accept": "APPLICATION/JSON"}, 200),
        ({"accept": "application/*;q=0.5"}, 200),
        ({"accept": ""}, 200),
        ({"accept": "text/html"}, 406),
        ({"mcp_protocol_version": "2026-07-28", "host": "evil.example"}, 421),
        ({"mcp_protocol_version": "2026-07-28", "origin": "https://evil.example"}, 403),
    ],
)
def test_host_and_origin_are_checked(http_server: HttpServer, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(port=http_server.port) for name, value in headers.items()}
    assert http_server.post(LIST, **given).status_code == status


def test_a_client_need_not_say_what_it_accepts(http_server: HttpServer) -> None:
    head = {"Host": "localhost", "Content-Type": "application/json"}
    answer = raw.send(http_server.port, raw.sized("POST", "/mcp", LIST, head))
    assert answer.status_code == 200, answer.text


def test_trusted_hosts_and_cors_origins_are_let_in(start_http: Callable[..., HttpServer]) -> None:
    server = start_http(TRUSTED_HOSTS="Tasks.example, .tasks.example.org", CORS_ORIGINS="https://App.example/")
    for host in ("tasks.example", "TASKS.example.:8443", "a.tasks.example.org", "tasks.example.org:443"):
        assert server.post(LIST, host=host, origin="https://app.example").status_code == 200
    for host in ("xtasks.example", "a.tasks.example", "xtasks.example.org", "tasks.example:x"):
        assert server.post(LIST, host=host).status_code == 421
    assert server.post(LIST, origin="http://localhost:3000").status_code == 403


def test_a_token_is_asked_for_where_tokens_are_set(start_http: Callable[..., HttpServer]) -> None:
    server = start_http(API_TOKENS="right-token,other-token")
    for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic right-token"}):
        refused = server.post(LIST, **wrong)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == CHALLENGE["WWW-Authenticate"]
        assert refused.text == NoAccess.sentence
    assert server.post(LIST, authorization="Bearer other-token").status_code == 200
    with server.agent("right-token") as agent:
        assert agent.create("with a token")
    assert "right-token" not in server.log


def test_others_are_not_let_in_without_a_token(database_url: str, tmp_path: Path) -> None:
    started = subprocess.run(
        [*COMMAND, "--http", "--host", "0.0.0.0", "--port", "0"],
        cwd=tmp_path,
        env=environment({"DATABASE_URL": database_url}),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert started.returncode == 1
    assert "API_TOKENS" in started.stderr


def test_there_is_only_post(http_server: HttpServer) -> None:
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        refused = http_server.post(LIST, method)
        assert refused.status_code == 405
        assert refused.headers["Allow"] == "POST"


def test_no_session_is_kept(http_server: HttpServer) -> None:
    answer = http_server.post(call("weekly_stats", {}))
    assert "mcp-session-id" not in answer.headers
    assert "total_tasks" in answer.json()["result"]["structuredContent"]


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_old_and_new_clients_are_served(http_server: HttpServer, tmp_path: Path, mode: str) -> None:
    with http_server.agent(mode=mode) as agent:
        (task_id,) = agent.create("one")
    with stdio_agent(http_server.settings, tmp_path, mode=mode) as agent:
        assert agent.answer("get_task", task_id=task_id)["task"]["title"] == "one"


# What no client should send

DEEP = "[" * 100_000 + "]" * 100_000

HOSTILE: list[Any] = [
    10**300,
    -(10**300),
    0.1,
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "x" * 600_000,
    [],
    {},
    [[[[[[[[[[]]]]]]]]]],
    {"\ud800": "\0"},
    {"x" * 100_000: 1},
    [None] * 1000,
    ["\ud800"],
    [{"title": "\ud800"}],
    [{"title": "a\0b"}],
    [{"title": "ok", "description": "\udc00"}],
    [{"title": 10**300}],
    "' OR 1=1; DROP TABLE tasks; --",
    "%(task_id)s %s {0}",
    "9" * 5000,
    "W3RydWUsIjAwMDEtMDEtMDFUMDA6MDA6MDAuMDAwMDAwWiIsIjEiXQ==",
]

ARGUMENTS = {
    "create_tasks": ("tasks", "operation_id"),
    "list_tasks": ("state", "text", "limit", "cursor"),
    "get_task": ("task_id",),
    "update_tasks": ("tasks", "operation_id"),
    "update_task": ("task_id", "title", "description", "operation_id"),
    "complete_tasks": ("task_ids", "operation_id"),
    "reopen_tasks": ("task_ids",),
    "delete_tasks": ("task_ids", "operation_id"),
    "task_history": ("task_id", "action_type", "limit", "page"),
    "weekly_stats": ("\ud800",),
}

NOT_MESSAGES = [
    b"",
    b"not JSON",
    b"{",
    b"null",
    b"5",
    b'"\\ud800"',
    b"[]",
    b"{}",
    b"\xff\xfe\x00",
    b'{"jsonrpc": "2.0", "id": 1}',
    b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": ' + DEEP.encode() + b"}",
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"x": ' + b"9" * 100_000 + b"}}",
    DEEP.encode(),
    b'[{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]',
]

NOTIFICATION = b'{"jsonrpc": "2.0", "id": {}, "method": "tools/list"}'
"""What has no usable id has no answer."""

WRONG_MESSAGES = [
    request("tools/nothing", {}),
    request("tools/call", {}),
    request("tools/call", {"name": 5}),
    request("tools/call", {"name": "\ud800"}),
    request("tools/call", {"name": "nothing", "arguments": {}}),
    request("tools/call", {"name": "get_task", "arguments": []}),
    request("tools/call", {"name": "get_task", "arguments": "x"}),
    request("tools/call", "x"),
    request("\ud800", {}),
]


CALLS = [(tool, {name: value}) for tool, names in ARGUMENTS.items() for name in names for value in HOSTILE]


def check(answer: dict[str, Any], sent: Any) -> None:
    """It is an error of few words, or an answer: never a fault of the server."""
    text = json.dumps(answer)
    assert "fault of the server" not in text, str(sent)[:200]
    assert "Traceback" not in text, str(sent)[:200]
    assert len(text) < 2_000, str(sent)[:200]


def test_hostile_lines_end_nothing(lines: Lines) -> None:
    for line in NOT_MESSAGES[1:]:
        answer = lines.exchange(line)
        assert answer["id"] is None, line[:100]
        assert answer["error"]["code"] == -32700
    lines.send(NOTIFICATION)
    lines.shake_hands()
    for line in WRONG_MESSAGES:
        assert "error" in lines.exchange(line), line[:100]
    for tool, arguments in CALLS:
        check(lines.exchange(call(tool, arguments)), arguments)
    big = lines.exchange(call("create_tasks", {"tasks": [{"title": "x" * 10_000_000}]}))
    assert "tasks[0].title: must have at most 255 characters" in big["result"]["content"][0]["text"]
    surrogate = lines.exchange(call("create_tasks", {"tasks": [{"title": "\ud83d"}]}))
    assert "must not contain U+0000 or lone surrogates" in surrogate["result"]["content"][0]["text"]
    assert lines.exchange(call("weekly_stats", {}))["result"]["structuredContent"]["total_tasks"] == 0


def test_hostile_bodies_end_nothing(start_http: Callable[..., HttpServer]) -> None:
    server = start_http()
    for body in [*NOT_MESSAGES, NOTIFICATION, *WRONG_MESSAGES]:
        for headers in ({}, modern("get_task", {})[1]):
            refused = server.post(body, **headers)
            assert refused.status_code < 500, body[:100]
            assert "Traceback" not in refused.text
            assert '"result"' not in refused.text
    for tool, arguments in CALLS:
        check(server.post(call(tool, arguments)).json(), arguments)
        body, headers = modern(tool, arguments)
        check(server.post(body, **headers).json(), arguments)
    assert server.post(b"x" * 10_000_000).status_code == 413
    assert server.post(b"x" * 1000 for _ in range(10_000)).status_code == 413
    body, headers = modern("create_tasks", {"tasks": [{"title": "\ud83d"}]})
    surrogate = server.post(body, **headers)
    assert "must not contain U+0000 or lone surrogates" in surrogate.text
    fine = server.post(call("weekly_stats", {}))
    assert fine.json()["result"]["structuredContent"]["total_tasks"] == 0
    assert "Traceback" not in server.log


# Starting and ending


def test_what_came_before_the_end_of_stdin_is_answered(lines: Lines, sql: Sql) -> None:
    lines.shake_hands()
    for number in range(2, 12):
        lines.send(call("create_tasks", {"tasks": [{"title": f"task {number}"}]}, number=number))
    answers = lines.end_input()
    assert sorted(answer["id"] for answer in answers) == list(range(2, 12))
    assert sql.value("SELECT count(*) FROM tasks") == 10


@pytest.mark.parametrize("ids", [["2"], ['"2"'], ["[1]", '{"x": 1}', "null", "2.5", "2"]], ids=" ".join)
def test_a_call_that_was_taken_back_does_not_keep_the_server(
    lines: Lines, sql: Sql, database_url: str, ids: list[str]
) -> None:
    lines.shake_hands()
    (task_id,) = sql.rows("SELECT gen_random_uuid()::text")[0]
    with Sql(database_url) as other, other.transaction():
        other.execute("LOCK TABLE tasks")
        lines.send(call("get_task", {"task_id": task_id}, number=2))
        for number in ids:
            params = f'{{"requestId": {number}}}'
            lines.send(f'{{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {params}}}'.encode())
        assert lines.exchange(request("ping", {}, number=3))["id"] == 3
    assert [answer for answer in lines.end_input() if answer["id"] != 2] == []


def test_the_development_database_is_shared(tmp_path: Path) -> None:
    with short_folder() as folder:
        settings = {"DATA_DIR": str(folder / "data"), "HOME": str(tmp_path)}
        server = HttpServer(settings, tmp_path)
        with server.agent() as one, stdio_agent(settings, tmp_path) as two:
            (task_id,) = one.create("shared")
            assert two.answer("get_task", task_id=task_id)["task"]["title"] == "shared"
        server.stop()
        assert not list((folder / "data" / "postgres").glob("postmaster.pid"))


@pytest.mark.parametrize(
    ("wrong", "begins"),
    [({"DATABASE_URL": "mysql://secret@host/x"}, "DATABASE_URL: "), ({"PYTHONOPTIMIZE": "2"}, "Python's -OO ")],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, wrong: dict[str, str], begins: str) -> None:
    started = subprocess.run(
        COMMAND,
        cwd=tmp_path,
        env=environment(wrong),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert started.returncode == 1
    assert started.stdout == ""
    assert started.stderr.startswith(f"taskapi: {begins}")
    assert started.stderr.count("\n") == 1
    assert "secret" not in started.stderr
