"""Who an agent is, and what its changes are part of: every tool that writes leaves it in the history."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskapi.mcp.tools import TOOLS
from tests.mcp.agent import Agent, HttpServer, modern, stdio_agent
from tests.support.sql import Sql

Row = tuple[str | None, str | None, str | None]

WRITTEN = "SELECT DISTINCT actor, change_set, request_id FROM task_history WHERE task_id = ANY (%s::uuid[])"


def write_everything(agent: Agent) -> list[str]:
    """Use each tool that writes; return the ids of the tasks that it was about."""
    ids = agent.create("a", "b")
    used = {"create_tasks"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("update_tasks", {"tasks": [{"task_id": ids[0], "title": "c"}]}),
        ("complete_tasks", {"task_ids": ids}),
        ("reopen_tasks", {"task_ids": ids}),
        ("delete_tasks", {"task_ids": ids}),
        ("undo", {"task_id": ids[0], "version": 5}),
    ]
    for tool, arguments in calls:
        agent.answer(tool, **arguments)
        used.add(tool)
    assert used == {name for name, entry in TOOLS.items() if entry.writes}
    return ids


def test_a_process_on_stdio_is_one_change_set(
    module_database_url: str, module_sql: Sql, reach: Callable[[str], str], tmp_path: Path
) -> None:
    change_sets = set()
    for _ in range(2):
        with stdio_agent({"DATABASE_URL": reach(module_database_url)}, tmp_path) as agent:
            rows = module_sql.rows(WRITTEN, (write_everything(agent),))
        ((actor, change_set),) = {row[:2] for row in rows}
        assert actor == "mcp"
        # A request id for each call.
        assert len({row[2] for row in rows}) == 6
        change_sets.add(change_set)
    assert len(change_sets) == 2
    assert None not in change_sets


def test_over_http_the_token_and_the_header_say_it(start_http: Callable[..., HttpServer], sql: Sql) -> None:
    server = start_http(API_TOKENS="agent-7:secret,nameless")
    for token, name in (("secret", "agent-7"), ("nameless", None)):
        with server.agent(token, change_set="run 7") as agent:
            rows = sql.rows(WRITTEN, (write_everything(agent),))
        assert {row[:2] for row in rows} == {(name, "run 7")}
        assert len({row[2] for row in rows}) == 6
    assert "secret" not in server.log


def test_an_open_server_knows_nobody(http_server: HttpServer, module_sql: Sql) -> None:
    with http_server.agent() as agent:
        assert {row[:2] for row in module_sql.rows(WRITTEN, (write_everything(agent),))} == {(None, None)}


def test_a_request_has_an_id(http_server: HttpServer, module_sql: Sql) -> None:
    for given, kept in (("mine.1", True), ("not mine", False)):
        body, headers = modern("create_tasks", {"tasks": [{"title": given}]})
        answer = http_server.post(body, **headers, x_request_id=given)
        assert (answer.headers["X-Request-Id"] == given) == kept
        (task,) = answer.json()["result"]["structuredContent"]["tasks"]
        ((_, _, request_id),) = module_sql.rows(WRITTEN, ([task["id"]],))
        assert request_id == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("change_set", ["", "x" * 101, "a\tb"])
def test_a_bad_change_set_is_422(http_server: HttpServer, change_set: str) -> None:
    body, headers = modern("weekly_stats", {})
    answer = http_server.post(body, **headers, change_set=change_set)
    assert answer.status_code == 422
    assert answer.text.startswith("Change-Set: ")
