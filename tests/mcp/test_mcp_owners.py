"""Each tool is about the tasks of whoever calls it: over HTTP by the token, over stdio by TASKAPI_OWNER."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest

from taskapi.mcp.tools import FORMER, TOOLS
from tests.mcp.agent import Agent, HttpServer, modern, stdio_agent, text_of
from tests.support.owners import SECRET, secured, token
from tests.support.sql import Sql

TITLE = "Ann's secret"

CALLS: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("list_tasks", lambda _: {"state": "all", "text": "secret"}),
    ("get_task", lambda task_id: {"task_id": task_id}),
    ("update_tasks", lambda task_id: {"tasks": [{"task_id": task_id, "title": "taken"}]}),
    ("update_task", lambda task_id: {"task_id": task_id, "title": "taken"}),
    ("complete_tasks", lambda task_id: {"task_ids": [task_id]}),
    ("reopen_tasks", lambda task_id: {"task_ids": [task_id]}),
    ("task_history", lambda task_id: {"task_id": task_id}),
    ("task_history", lambda _: {"actor": "ann"}),
    ("undo", lambda task_id: {"task_id": task_id, "version": 2}),
    ("undo", lambda task_id: {"change_set": f"run of {task_id}", "preview": True}),
    ("create_tasks", lambda task_id: {"tasks": [{"title": TITLE}], "operation_id": f"by {task_id}"}),
    ("weekly_stats", lambda _: {}),
    ("delete_tasks", lambda task_id: {"task_ids": [task_id]}),
]


@pytest.fixture(scope="module")
def many(
    module_database_url: str, reach: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServer]:
    settings = {
        "DATABASE_URL": reach(secured(module_database_url)),
        "JWT_SECRET": SECRET,
        "API_TOKENS": "robot:machine",
    }
    server = HttpServer(settings, tmp_path_factory.mktemp("http"))
    yield server
    server.stop()
    assert "Traceback" not in server.log


def create_as_ann(server: HttpServer) -> str:
    """A task of ann's, whose marks are made of its own id's."""
    with server.agent(token("ann")) as agent:
        (task_id,) = agent.create(TITLE)
    with server.agent(token("ann"), change_set=f"run of {task_id}") as agent:
        agent.answer("update_tasks", tasks=[{"task_id": task_id, "title": f"{TITLE}!"}])
        agent.answer("create_tasks", tasks=[{"title": TITLE}], operation_id=f"by {task_id}")
    return task_id


def said(agent: Agent, tool: str, arguments: dict[str, Any]) -> tuple[bool, str]:
    """Whether the call is an error, and what it says but for ids, times and positions."""
    result = agent.call(tool, **arguments)
    text = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "…", text_of(result))
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "…", text)
    return bool(result.is_error), re.sub(r'"since":"[\w-]+"', "", text)


def test_every_tool_is_called() -> None:
    assert {tool for tool, _ in CALLS} == {*TOOLS, *FORMER}


def test_for_another_owner_it_never_was(many: HttpServer, module_sql: Sql) -> None:
    task_id, never = create_as_ann(many), str(uuid4())
    rows = (
        "SELECT md5(string_agg(row::text, '' ORDER BY version, task_id)) FROM task_history AS row WHERE owner = 'ann'"
    )
    before = module_sql.value(rows)
    with many.agent(token("bob")) as bob:
        bob.create("one of bob's")
        for tool, arguments in CALLS:
            other = said(bob, tool, arguments(never))
            found = said(bob, tool, arguments(task_id))
            if tool not in ("weekly_stats", "list_tasks"):
                assert found == other, tool
            assert "replayed" not in found[1]
            assert "secret" not in found[1] or tool == "create_tasks"
    assert module_sql.value(rows) == before


def test_for_their_owner_they_are_there(many: HttpServer) -> None:
    task_id = create_as_ann(many)
    with many.agent(token("ann")) as ann:
        for tool, arguments in CALLS:
            # At most a conflict, which only somebody meets who has changes.
            assert "no such" not in text_of(ann.call(tool, **arguments(task_id))), tool
        (entry,) = ann.answer("task_history", task_id=task_id, limit=1)["entries"]
        assert entry["by"] == "ann"


def test_tokens_of_the_service_have_a_list_of_their_own(many: HttpServer) -> None:
    with many.agent("machine") as robot:
        robot.create("of a machine")
        assert [task["title"] for task in robot.answer("list_tasks")["tasks"]] == ["of a machine"]


def test_without_a_valid_token_nothing_is_answered(many: HttpServer) -> None:
    body, headers = modern("weekly_stats", {})
    for given in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {token('ann', -60)}"}):
        answer = many.post(body, **headers, **given)
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
    assert "expired" in answer.text


def test_of_two_tokens_none_counts(many: HttpServer) -> None:
    """A proxy may have added one: nobody knows which."""
    body, headers = modern("weekly_stats", {})
    both = [("authorization", f"Bearer {token(owner)}") for owner in ("ann", "bob")]
    usual = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    given = [*usual.items(), *((name.replace("_", "-"), value) for name, value in headers.items())]
    with httpx2.Client(timeout=30, trust_env=False, verify=False) as client:
        assert client.post(many.url, content=body, headers=[*given, both[0]]).status_code == 200
        assert client.post(many.url, content=body, headers=[*given, *both]).status_code == 401


def test_over_stdio_the_setting_says_whose_they_are(
    module_database_url: str, reach: Callable[[str], str], tmp_path: Path, module_sql: Sql
) -> None:
    settings = {"DATABASE_URL": reach(secured(module_database_url))}
    with stdio_agent({**settings, "TASKAPI_OWNER": "dan"}, tmp_path) as dan:
        (task_id,) = dan.create("of dan")
    owner, actor = module_sql.rows("SELECT owner, actor FROM task_history WHERE task_id = %s", (task_id,))[0]
    assert (owner, actor) == ("dan", "mcp")
    with stdio_agent(settings, tmp_path) as default:
        assert "There is no such task" in default.refusal("get_task", task_id=task_id)
        assert orjson.dumps(default.answer("list_tasks", state="all")).count(b"of dan") == 0
