"""Calls as common clients send them, whose ways no agent can change: each means what it plainly means."""

import json
import uuid
from typing import Any

import pytest

from taskapi.mcp.tools import TOOLS
from tests.mcp.agent import Agent, Lines, call, request
from tests.support.sql import Sql

LEFT_OUT = [None, "", "null"]
"""What clients send for an argument that is not given."""

OPTIONAL = {
    "create_tasks": ["operation_id"],
    "list_tasks": [
        *("state", "limit", "cursor", "created_from", "created_before"),
        *("updated_from", "updated_before", "completed_from", "completed_before"),
    ],
    "update_tasks": ["operation_id"],
    "complete_tasks": ["operation_id"],
    "reopen_tasks": ["operation_id"],
    "delete_tasks": ["operation_id"],
    "task_history": ["task_id", "action_type", "limit", "page", "since"],
    "undo": ["task_id", "version", "preview", "skip_conflicts", "operation_id"],
}

TEXTS = {"list_tasks": ["text"], "task_history": ["actor", "change_set"], "undo": ["change_set"]}


def arguments_for(tool: str, agent: Agent) -> dict[str, Any]:
    """What the tool needs at the least."""
    if tool == "create_tasks":
        return {"tasks": [{"title": "new"}]}
    (task_id,) = agent.create("there")
    change = {"task_id": task_id, "title": "other", "description": None, "clear_description": "null"}
    needed: dict[str, dict[str, Any]] = {
        "update_tasks": {"tasks": [change]},
        "list_tasks": {},
        "task_history": {},
        "undo": {"task_id": task_id, "version": 1},
    }
    return needed.get(tool, {"task_ids": [task_id]})


def test_the_lists_of_arguments_are_complete() -> None:
    for name, tool in TOOLS.items():
        optional = {field for field, rule in tool.arguments.fields.items() if not rule.required}
        assert optional == {*OPTIONAL.get(name, []), *TEXTS.get(name, [])}


@pytest.mark.parametrize("nothing", LEFT_OUT)
@pytest.mark.parametrize("tool", OPTIONAL)
def test_every_argument_may_be_sent_as_nothing(agent: Agent, tool: str, nothing: Any) -> None:
    arguments = arguments_for(tool, agent)
    agent.answer(tool, **{**dict.fromkeys(OPTIONAL[tool], nothing), **arguments})


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_text_may_be_sent_as_nothing_and_stays(agent: Agent, nothing: Any) -> None:
    (task,) = agent.answer("create_tasks", tasks=[{"title": "t", "description": nothing}])["tasks"]
    assert "about" not in task
    for change, title, about in (
        ({"description": "kept"}, "t", "kept"),
        ({"title": "new", "description": nothing}, "new", "kept"),
        ({"title": nothing, "description": "newer"}, "new", "newer"),
    ):
        (updated,) = agent.answer("update_tasks", tasks=[{"task_id": task["id"], **change}])["tasks"]
        assert (updated["title"], updated["about"]) == (title, about)
    assert agent.answer("list_tasks", text=nothing)["tasks"]


def test_a_text_may_be_the_word_null(agent: Agent) -> None:
    (task,) = agent.answer("create_tasks", tasks=[{"title": "null", "description": "null"}])["tasks"]
    assert (task["title"], task["about"]) == ("null", "null")
    assert task in agent.answer("list_tasks", text="null", limit=100)["tasks"]


def test_an_array_may_come_as_json_text_and_one_without_brackets(agent: Agent) -> None:
    ids = agent.create("a", "b")
    for ids_given in (json.dumps(ids), [ids[0], ids[1]]):
        agent.answer("complete_tasks", task_ids=ids_given)
        assert [task["id"] for task in agent.answer("reopen_tasks", task_ids=ids_given)["tasks"]] == ids
    assert [task["id"] for task in agent.answer("complete_tasks", task_ids=ids[0])["tasks"]] == ids[:1]
    for given in (
        [{"title": "one"}],
        {"title": "one"},
        '{"title": "one"}',
        '[{"title": "one"}]',
        ['{"title": "one"}'],
        ['{"title": "one", "description": null}'],
        ' [{"title": "one", "description": null}]',
    ):
        (task,) = agent.answer("create_tasks", tasks=given)["tasks"]
        assert task["title"] == "one"


def test_numbers_booleans_and_words_may_come_in_other_clothes(agent: Agent, module_sql: Sql) -> None:
    agent.create("1", "2", "3")
    for limit in ("2", 2.0):
        assert len(agent.answer("list_tasks", limit=limit)["tasks"]) == 2
        assert len(agent.answer("task_history", limit=limit, page=limit)["entries"]) == 2
    assert agent.answer("list_tasks", state="Open", limit=1)["tasks"]
    assert agent.answer("task_history", action_type="created")["total"] > 0
    (task_id,) = agent.create("described")
    agent.answer("update_tasks", tasks={"task_id": task_id, "description": "d"})
    for unclear in (1, 1.0, "1", "yes", [True]):
        refusal = agent.refusal("update_tasks", tasks=[{"task_id": task_id, "clear_description": unclear}])
        assert "tasks[0].clear_description: must be true or false" in refusal
    cleared = agent.answer("update_tasks", tasks=json.dumps({"task_id": task_id, "clear_description": "true"}))
    assert "about" not in cleared["tasks"][0]
    number = uuid.uuid4().int % 10**15
    agent.answer("create_tasks", tasks=[{"title": "x"}], operation_id=number)
    assert agent.answer("create_tasks", tasks=[{"title": "x"}], operation_id=str(number))["replayed"]


def test_no_arguments_at_all(lines: Lines) -> None:
    lines.shake_hands()
    for params in ({"name": "weekly_stats"}, {"name": "weekly_stats", "arguments": {}}):
        assert "structuredContent" in lines.exchange(request("tools/call", params))["result"]
    missing = lines.exchange(request("tools/call", {"name": "get_task"}))["result"]
    assert "task_id: is required" in missing["content"][0]["text"]


VALUES: list[Any] = [None, "", "x", "null", 5, 2.5, True, [], {}, [None], ["x"], [5], [{}], [[]], {"x": 1}, "[", "{}"]

FOREIGN = ["may not be null", "Not a valid", "Missing data", "Unknown field", "Invalid input", "Invalid value", ".."]
"""Words of marshmallow's."""


def test_every_fault_is_told_in_our_words(lines: Lines) -> None:
    lines.shake_hands()
    for name, tool in TOOLS.items():
        for field in [*tool.arguments.fields, "unknown"]:
            for value in [*VALUES, [{"title": 5}], [{"title": None}], [{"title": "x", "description": 5}]]:
                answer = lines.exchange(call(name, {field: value}))
                text = answer["result"]["content"][0]["text"]
                assert not [word for word in FOREIGN if word in text], (name, field, value, text)
