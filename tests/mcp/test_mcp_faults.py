"""What agents are told when the database is not there, and when the server itself has a fault."""

from collections.abc import Iterator
from typing import Any

import pytest
from mcp_types import CallToolResult

from taskapi.errors import (
    ConnectFailed,
    DatabaseUnavailable,
    OutcomeUnknown,
    PoolBusy,
    RolledBack,
    SchemaMismatch,
)
from taskapi.mcp.server import create_server
from taskapi.mcp.tools import TOOLS
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.mcp.agent import Agent, stdio_agent, text_of
from tests.support.folders import short_folder
from tests.support.server import Server
from tests.support.tasks import NOBODY

PATIENCE = {"DB_POOL_TIMEOUT": "0.5"}


def test_a_database_that_was_never_there(tmp_path: Any) -> None:
    with stdio_agent({**PATIENCE, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, tmp_path) as agent:
        assert len(agent.tools()) == len(TOOLS)
        refusal = agent.refusal("list_tasks")
    assert "The database cannot be reached" in refusal
    assert "Call list_tasks again in 2 s" in refusal
    assert "127.0.0.1" not in refusal


def test_a_database_that_goes_and_comes_back(tmp_path: Any) -> None:
    with short_folder() as folder:
        server = Server(folder / "pg")
        server.start()
        with stdio_agent({**PATIENCE, "DATABASE_URL": server.embedded.url}, tmp_path) as agent:
            (task_id,) = agent.create("before")
            server.stop()
            assert "The database cannot be reached" in agent.refusal("create_tasks", tasks=[{"title": "meanwhile"}])
            assert "The database cannot be reached" in agent.refusal("get_task", task_id=task_id)
            server.start()
            assert [task["id"] for task in agent.answer("list_tasks")["tasks"]] == [task_id]
        server.stop()


class Broken:
    """A database that raises."""

    def __init__(self) -> None:
        self.error: Exception = RuntimeError()

    def run(self, name: str, parameters: dict[str, Any], *, repeatable: bool, **options: bool) -> None:
        raise self.error


@pytest.fixture
def broken() -> Broken:
    return Broken()


@pytest.fixture
def agent_of_broken(broken: Broken) -> Iterator[Agent]:
    agent = Agent(create_server(Repository(broken)))
    yield agent
    agent.close()


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("create_tasks", {"tasks": [{"title": "x"}]}),
    ("list_tasks", {}),
    ("get_task", {"task_id": NOBODY}),
    ("update_tasks", {"tasks": [{"task_id": NOBODY, "title": "x"}]}),
    ("complete_tasks", {"task_ids": [NOBODY]}),
    ("reopen_tasks", {"task_ids": [NOBODY]}),
    ("delete_tasks", {"task_ids": [NOBODY]}),
    ("task_history", {}),
    ("weekly_stats", {}),
]
READS = {"list_tasks", "get_task", "task_history", "weekly_stats"}


@pytest.mark.parametrize("error", [PoolBusy, ConnectFailed, RolledBack, SchemaMismatch])
def test_what_was_not_written_may_be_tried_again(
    broken: Broken, agent_of_broken: Agent, error: type[DatabaseUnavailable]
) -> None:
    broken.error = error()
    for tool, arguments in CALLS:
        refusal = agent_of_broken.refusal(tool, **arguments)
        assert error.sentence in refusal
        assert f"Call {tool} again in" in refusal


def test_an_answer_that_was_lost(broken: Broken, agent_of_broken: Agent) -> None:
    broken.error = OutcomeUnknown()
    for tool, arguments in CALLS:
        refusal = agent_of_broken.refusal(tool, **arguments)
        if tool in READS:
            assert f"Call {tool} again in" in refusal
            continue
        assert "It may have been written: look with list_tasks before you call again" in refusal
        # What many clients send for what they leave out is no operation_id, and protects from nothing.
        for nothing in (None, "", "null"):
            assert agent_of_broken.refusal(tool, **arguments, operation_id=nothing) == refusal
        refusal = agent_of_broken.refusal(tool, **arguments, operation_id="1")
        assert "Call again with the same arguments and operation_id" in refusal


def test_a_call_has_one_deadline(repository: Repository) -> None:
    """That of the request, which began before the repository was asked."""
    agent = Agent(create_server(repository, Settings(request_deadline=0.0)))
    refusal = agent.refusal("create_tasks", tasks=[{"title": "late"}])
    agent.close()
    assert "The time for this request was over" in refusal
    assert "Nothing was written" in refusal


def test_a_fault_tells_nothing_of_the_inside(
    broken: Broken, agent_of_broken: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    broken.error = RuntimeError("secret of the inside")
    for tool, arguments in CALLS:
        result: CallToolResult = agent_of_broken.call(tool, **arguments)
        assert result.is_error
        assert "secret" not in result.model_dump_json()
        assert "Tell the user" in text_of(result)
    assert caplog.text.count("RuntimeError: secret of the inside") == len(CALLS)
