"""The same operations by REST and by MCP end in the same tasks and the same history, but for ids and times."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from tests.conftest import StartService
from tests.mcp.agent import Agent, stdio_agent
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql

OPERATIONS = 200

WORDS = ["milk", "report", "Größe", "牛乳", "🎉", "it's", '"quoted"', "50 %", "\\", "line\nend", " padded "]


class Side(Protocol):
    """One way to the service. Tasks are known by the number of their creation; False is a refusal."""

    ids: list[str]

    def create(self, tasks: list[dict[str, Any]]) -> bool: ...
    def update(self, changes: dict[int, dict[str, Any]]) -> bool: ...
    def set_completed(self, numbers: list[int], is_completed: bool) -> bool: ...
    def delete(self, numbers: list[int]) -> bool: ...
    def tasks(self) -> list[Any]: ...
    def history(self) -> list[Any]: ...


class Rest:
    """A request for one task, or one for many."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.ids: list[str] = []

    def _bulk(self, form: str, elements: list[Any]) -> httpx.Response:
        return self._client.post("/api/v1/tasks/bulk", json={form: elements})

    def create(self, tasks: list[dict[str, Any]]) -> bool:
        if len(tasks) == 1:
            answer = self._client.post("/api/v1/tasks", json=tasks[0])
            created = [answer.json()["data"]]
        else:
            answer = self._bulk("create", tasks)
            created = answer.json()["data"]
        if answer.status_code == 201:
            self.ids += [task["id"] for task in created]
        return answer.status_code == 201

    def update(self, changes: dict[int, dict[str, Any]]) -> bool:
        if len(changes) > 1:
            elements = [{"id": self.ids[number], **change} for number, change in changes.items()]
            return self._bulk("update", elements).status_code == 200
        ((number, change),) = changes.items()
        return self._client.put(f"/api/v1/tasks/{self.ids[number]}", json=change).status_code == 200

    def set_completed(self, numbers: list[int], is_completed: bool) -> bool:
        word = "complete" if is_completed else "incomplete"
        if len(numbers) > 1:
            return self._bulk(word, [self.ids[number] for number in numbers]).status_code == 200
        return self._client.patch(f"/api/v1/tasks/{self.ids[numbers[0]]}/{word}").status_code == 200

    def delete(self, numbers: list[int]) -> bool:
        if len(numbers) > 1:
            return self._bulk("delete", [self.ids[number] for number in numbers]).status_code == 200
        return self._client.delete(f"/api/v1/tasks/{self.ids[numbers[0]]}").status_code == 200

    def tasks(self) -> list[Any]:
        return [self._task(task) for task in self._client.get("/api/v1/tasks").json()["data"]]

    def _task(self, task: dict[str, Any]) -> Any:
        number = self.ids.index(task["id"])
        return number, task["title"], task["description"], task["is_completed"], task["completed_at"] is not None

    def history(self) -> list[Any]:
        entries: list[Any] = []
        while True:
            page = {"limit": 100, "offset": len(entries)}
            data = self._client.get("/api/v1/history", params=page).json()["data"]
            entries += data["items"]
            if not data["pagination"]["has_next"]:
                break
        return [(self.ids.index(each["task_id"]), each["action_type"], each["description"]) for each in entries]


class Mcp:
    """One call for many tasks."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.ids: list[str] = []

    def _done(self, tool: str, **arguments: Any) -> bool:
        return not self._agent.call(tool, **arguments).is_error

    def create(self, tasks: list[dict[str, Any]]) -> bool:
        result = self._agent.call("create_tasks", tasks=tasks)
        if not result.is_error:
            self.ids += [task["id"] for task in result.structured_content["tasks"]]
        return not result.is_error

    def update(self, changes: dict[int, dict[str, Any]]) -> bool:
        return self._done("update_tasks", tasks=[self._change(*change) for change in changes.items()])

    def _change(self, number: int, change: dict[str, Any]) -> dict[str, Any]:
        if "description" in change and change["description"] is None:
            change = {**{name: change[name] for name in change if name != "description"}, "clear_description": True}
        return {"task_id": self.ids[number], **change}

    def set_completed(self, numbers: list[int], is_completed: bool) -> bool:
        tool = "complete_tasks" if is_completed else "reopen_tasks"
        return self._done(tool, task_ids=[self.ids[number] for number in numbers])

    def delete(self, numbers: list[int]) -> bool:
        return self._done("delete_tasks", task_ids=[self.ids[number] for number in numbers])

    def tasks(self) -> list[Any]:
        found: list[str] = []
        page: dict[str, Any] = {"next_cursor": None}
        while "next_cursor" in page:
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            page = self._agent.answer("list_tasks", limit=7, **cursor)
            found += [task["id"] for task in page["tasks"]]
        return [self._task(self._agent.answer("get_task", task_id=task_id)["task"]) for task_id in found]

    def _task(self, task: dict[str, Any]) -> Any:
        number = self.ids.index(task["id"])
        return number, task["title"], task["description"], task["is_completed"], task["completed_at"] is not None

    def history(self) -> list[Any]:
        entries: list[Any] = []
        page: dict[str, Any] = {"next_page": 1}
        while "next_page" in page:
            page = self._agent.answer("task_history", limit=10, page=page["next_page"])
            entries += page["entries"]
        return [(self.ids.index(each["task_id"]), each["action"], each["what"]) for each in entries]


@pytest.fixture
def sides(
    start_service: StartService, new_database: Callable[[], str], reach: Callable[[str], str], tmp_path: Path
) -> Iterator[tuple[Rest, Mcp, str]]:
    """Both ways, each to an empty database of its own; and the URL of the second one's."""
    url = new_database()
    with stdio_agent({"DATABASE_URL": reach(url)}, tmp_path) as agent:
        yield Rest(start_service().client()), Mcp(agent), url


def test_rest_and_mcp_tell_the_same_story(sides: tuple[Rest, Mcp, str]) -> None:
    rest, mcp, url = sides
    chance = random.Random(5)
    done = 0
    for _ in range(OPERATIONS):
        operation = draw(chance, len(rest.ids))
        first, second = operation(rest), operation(mcp)
        assert first == second
        done += first
    assert len(rest.ids) == len(mcp.ids)
    assert OPERATIONS // 2 < done < OPERATIONS, "some are refused, and not too many"
    assert rest.tasks() == mcp.tasks()
    assert rest.history() == mcp.history()
    with Sql(url) as sql:
        assert_replay_equals_tasks(sql)


def draw(chance: random.Random, tasks: int) -> Callable[[Side], bool]:
    """An operation on one task or a few, of which some may be gone: then nothing is done."""
    kind = chance.choice(["create", "update", "update", "complete", "complete", "reopen", "delete"])
    if kind == "create" or not tasks:
        new = [task(chance) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.1:
            new = [{"title": " " * chance.randint(0, 3)}]
        return lambda side: side.create(new)
    # The newest ones, of which few are gone.
    newest = range(max(0, tasks - 20), tasks)
    numbers = chance.sample(newest, min(len(newest), chance.choice([1, 1, 2, 3])))
    if kind == "update":
        changes = {number: change(chance) for number in numbers}
        return lambda side: side.update(changes)
    if kind == "delete":
        return lambda side: side.delete(numbers)
    return lambda side: side.set_completed(numbers, kind == "complete")


def change(chance: random.Random) -> dict[str, Any]:
    """A title, a description, both, or (which is refused) none."""
    changes = task(chance)
    for name in chance.choice([[], ["title"], ["description"], ["title", "description"]]):
        del changes[name]
    return changes


def task(chance: random.Random) -> dict[str, Any]:
    def words(most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))

    # Not "", which an agent's client sends for what it leaves out.
    description = chance.choice([None, words(6)])
    return {"title": words(4), "description": description}
