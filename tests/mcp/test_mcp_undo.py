"""An agent takes back what it has done, and asks what changed since it looked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mcp.agent import Agent, HttpServer, stdio_agent
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql

NOW = "SELECT string_agg(title || is_completed, ',' ORDER BY title) FROM tasks"


@pytest.fixture(params=["stdio", "http"])
def own(
    request: pytest.FixtureRequest,
    database_url: str,
    start_http: Callable[..., HttpServer],
    reach: Callable[[str], str],
    tmp_path: Path,
) -> Iterator[Agent]:
    """An agent with a change set of its own, and a database of its own."""
    if request.param == "stdio":
        with stdio_agent({"DATABASE_URL": reach(database_url)}, tmp_path) as agent:
            yield agent
    else:
        with start_http().agent(change_set="run 7") as agent:
            yield agent


def test_all_that_it_has_done_is_one_call(own: Agent, sql: Sql) -> None:
    ids = own.create("a", "b")
    own.answer("complete_tasks", task_ids=ids[0])
    before = sql.value(NOW)
    preview = own.answer("undo", preview=True)
    assert sorted(change["task_id"] for change in preview["changes"]) == sorted(ids)
    assert "change_set" not in preview
    assert sql.value(NOW) == before
    undone = own.answer("undo")
    assert undone["changes"] == preview["changes"]
    assert sql.value("SELECT count(*) FROM tasks") == 0
    # Done twice, it is done once.
    assert own.answer("undo")["changes"] == []
    redone = own.answer("undo", change_set=undone["change_set"])
    assert len(redone["changes"]) == 2
    assert sql.value(NOW) == before
    assert_replay_equals_tasks(sql)


def test_a_retry_names_the_same_change_set(own: Agent, sql: Sql) -> None:
    own.create("a")
    first = own.answer("undo", operation_id="undo-1")
    again = own.answer("undo", operation_id="undo-1")
    assert again == {**first, "replayed": True}
    assert len(own.answer("undo", change_set=again["change_set"])["changes"]) == 1
    assert sql.value(NOW) == "afalse"


def test_one_change_by_its_version(own: Agent, sql: Sql) -> None:
    (task_id,) = own.create("first")
    own.answer("update_tasks", tasks=[{"task_id": task_id, "title": "second"}])
    entry = own.answer("get_task", task_id=task_id)["history"][0]
    assert (entry["action"], entry["version"]) == ("UPDATED", 2)
    assert own.answer("undo", task_id=task_id, version=2)["changes"][0]["what"] == "undo: title: 'second' -> 'first'"
    assert sql.value("SELECT title FROM tasks") == "first"


def test_what_others_have_changed_is_told(own: Agent, sql: Sql, start_http: Callable[..., HttpServer]) -> None:
    (task_id,) = own.create("mine")
    (other_id,) = own.create("left alone")
    with start_http(API_TOKENS="ann:secret").agent("secret", change_set="hers") as ann:
        ann.answer("update_tasks", tasks=[{"task_id": task_id, "title": "hers"}])
        ann.answer("undo", task_id=other_id, version=1)
    refusal = own.refusal("undo")
    assert f"task {task_id} was changed in version 2 (ann, " in refusal
    assert "Nothing was written. preview shows what would be undone; skip_conflicts undoes the rest." in refusal
    rest = own.answer("undo", skip_conflicts=True)
    assert [(conflict["task_id"], conflict["field"]) for conflict in rest["conflicts"]] == [(task_id, "task")]
    assert sql.value("SELECT title FROM tasks") == "hers"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"version": 1}, "arguments: must give task_id with version, or a change_set, or none of them."),
        (
            {"change_set": "x", "version": 1},
            "arguments: must give task_id with version, or a change_set, or none of them.",
        ),
        ({"change_set": "nobody's"}, "There is no such change. Nothing was written."),
        ({"change_set": "x" * 101}, "change_set: must have at most 100 characters."),
    ],
)
def test_what_cannot_be_undone(agent: Agent, arguments: dict[str, object], sentence: str) -> None:
    assert agent.refusal("undo", **arguments).startswith(sentence)


def test_without_a_change_set_it_must_say_what(http_server: HttpServer) -> None:
    with http_server.agent() as nobody:
        nobody.create("a")
        assert "this connection has none of its own" in nobody.refusal("undo")


def test_what_changed_since_it_looked(own: Agent) -> None:
    own.create("before")
    since = own.answer("list_tasks")["since"]
    answer = own.answer("task_history", since=since)
    assert set(answer) == {"entries", "since"}
    assert answer["entries"] == []
    ids = own.create("a", "b", "c")
    seen: list[str] = []
    more = True
    while more:
        answer = own.answer("task_history", since=since, limit=2)
        seen += [entry["task_id"] for entry in answer["entries"]]
        since, more = answer["since"], answer.get("has_more", False)
    assert seen == ids
    assert own.answer("task_history", since=since)["entries"] == []
    for wrong in ("x", "MQ", since[:-3]):
        assert own.refusal("task_history", since=wrong).startswith(
            "since: must be the `since` of an answer as it stands"
        )
    for beside in ({"action_type": "CREATED"}, {"page": 2}):
        assert "must stand alone" in own.refusal("task_history", since=since, **beside)


def test_the_list_by_times(own: Agent) -> None:
    own.create("old")
    (task,) = own.answer("list_tasks")["tasks"]
    at = own.answer("get_task", task_id=task["id"])["task"]["created_at"]
    assert [found["title"] for found in own.answer("list_tasks", created_from=at)["tasks"]] == ["old"]
    assert own.answer("list_tasks", created_before=at)["tasks"] == []
    assert own.refusal("list_tasks", updated_from="yesterday").startswith(
        "updated_from: must be a time with its offset"
    )


def test_the_history_of_a_change_set(own: Agent) -> None:
    own.create("a")
    (entry,) = own.answer("task_history")["entries"]
    assert own.answer("task_history", actor="nobody")["total"] == 0
    assert own.answer("task_history", actor=entry.get("by", "nobody"))["total"] == ("by" in entry)
