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
    def update(self, number: int, changes: dict[str, Any]) -> bool: ...
    def set_completed(self, numbers: list[int], is_completed: bool) -> bool: ...
    def delete(self, numbers: list[int]) -> bool: ...
    def tasks(self) -> list[Any]: ...
    def history(self) -> list[Any]: ...


class Rest:
    """One request after another."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.ids: list[str] = []
        self.gone: set[int] = set()

    def create(self, tasks: list[dict[str, Any]]) -> bool:
        answers = [self._client.post("/api/v1/tasks", json=task) for task in tasks]
        self.ids += [answer.json()["data"]["id"] for answer in answers if answer.status_code == 201]
        return all(answer.status_code == 201 for answer in answers)

    def update(self, number: int, changes: dict[str, Any]) -> bool:
        return self._client.put(f"/api/v1/tasks/{self.ids[number]}", json=changes).status_code == 200

    def set_completed(self, numbers: list[int], is_completed: bool) -> bool:
        word = "complete" if is_completed else "incomplete"
        paths = [f"/api/v1/tasks/{self.ids[number]}/{word}" for number in numbers]
        return all(self._client.patch(path).status_code == 200 for path in paths)

    def delete(self, numbers: list[int]) -> bool:
        self.gone |= set(numbers)
        return all(self._client.delete(f"/api/v1/tasks/{self.ids[n]}").status_code == 200 for n in numbers)

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

    def update(self, number: int, changes: dict[str, Any]) -> bool:
        if "description" in changes and changes["description"] is None:
            changes = {**{name: changes[name] for name in changes if name != "description"}, "clear_description": True}
        return self._done("update_task", task_id=self.ids[number], **changes)

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
        operation = draw(chance, len(rest.ids), rest.gone)
        first, second = operation(rest), operation(mcp)
        assert first == second
        done += first
    assert len(rest.ids) == len(mcp.ids)
    assert OPERATIONS // 2 < done < OPERATIONS, "some are refused, and not too many"
    assert rest.tasks() == mcp.tasks()
    assert rest.history() == mcp.history()
    with Sql(url) as sql:
        assert_replay_equals_tasks(sql)


def draw(chance: random.Random, tasks: int, gone: set[int]) -> Callable[[Side], bool]:
    """An operation on one task, which may be gone, or on many that are there: REST has none that is for all or none."""
    kind = chance.choice(["create", "update", "update", "complete", "complete", "reopen", "delete"])
    if kind == "create" or not tasks:
        new = [task(chance) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.1:
            new = [{"title": " " * chance.randint(0, 3)}]
        return lambda side: side.create(new)
    number = chance.randrange(tasks)
    if kind == "update":
        changes = task(chance)
        for name in chance.sample(["title", "description"], chance.randint(0, 2)):
            changes.pop(name, None)
        return lambda side: side.update(number, changes)
    if kind == "delete":
        return lambda side: side.delete([number])
    there = sorted(set(range(tasks)) - gone)
    numbers = chance.sample(there, min(len(there), chance.randint(0, 4))) or [number]
    return lambda side: side.set_completed(numbers, kind == "complete")


def task(chance: random.Random) -> dict[str, Any]:
    def words(most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))

    # Not "", which an agent's client sends for what it leaves out.
    description = chance.choice([None, words(6)])
    return {"title": words(4), "description": description}
