"""The history: one entry for each change, its pages, its filters and its order."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from taskapi.schemas.fields import DESCRIPTION_LENGTH, PAGE_SIZE
from tests.support.envelope import data_of
from tests.support.sql import Sql
from tests.support.tasks import NOBODY

Create = Callable[..., dict[str, Any]]
EntriesOf = Callable[[str], list[dict[str, Any]]]

FIELDS = {
    *("history_id", "task_id", "action_type", "description", "timestamp"),
    *("task_title", "version", "actor", "request_id", "change_set"),
}
ACTIONS = ["CREATED", "UPDATED", "COMPLETED", "INCOMPLETED", "DELETED"]

LONG = 23
"""Entries of the task whose pages are looked at."""


@pytest.fixture(scope="module")
def long_task(kept_client: httpx.Client) -> dict[str, Any]:
    """A task with LONG entries."""
    task: dict[str, Any] = data_of(kept_client.post("/tasks", json={"title": "Change 1"}), 201, "TASK_CREATED")
    for number in range(2, LONG + 1):
        task = data_of(kept_client.put(f"/tasks/{task['id']}", json={"title": f"Change {number}"}), 200, "TASK_UPDATED")
    return task


@pytest.fixture
def lived(client: httpx.Client, create: Create) -> list[dict[str, Any]]:
    """What the API answered about one task: created, changed, completed, reopened."""
    task = create("Buy", description="Two litres")
    path = f"/tasks/{task['id']}"
    return [
        task,
        data_of(client.put(path, json={"title": "Buy milk"}), 200, "TASK_UPDATED"),
        data_of(client.patch(f"{path}/complete"), 200, "TASK_COMPLETED"),
        data_of(client.patch(f"{path}/incomplete"), 200, "TASK_INCOMPLETE"),
    ]


def test_every_change_has_one_entry(client: httpx.Client, lived: list[dict[str, Any]], entries_of: EntriesOf) -> None:
    task_id = lived[0]["id"]
    data_of(client.delete(f"/tasks/{task_id}"), 200, "TASK_DELETED")
    entries = entries_of(task_id)[::-1]
    assert [entry["action_type"] for entry in entries] == ACTIONS
    assert [entry["timestamp"] for entry in entries[:-1]] == [task["updated_at"] for task in lived]
    assert entries[-1]["timestamp"] > lived[-1]["updated_at"]
    for entry in entries:
        assert set(entry) == FIELDS
        assert str(UUID(entry["history_id"])) == entry["history_id"]
        assert entry["task_id"] == task_id
        assert isinstance(entry["description"], str)
        assert entry["description"]
    assert len({entry["history_id"] for entry in entries}) == len(ACTIONS)


def test_entries_outlive_their_task(client: httpx.Client, lived: list[dict[str, Any]], entries_of: EntriesOf) -> None:
    before = entries_of(lived[0]["id"])
    data_of(client.delete(f"/tasks/{lived[0]['id']}"), 200, "TASK_DELETED")
    assert entries_of(lived[0]["id"])[1:] == before


def test_descriptions_say_what_changed(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    task = create("Buy", description="Two litres")
    path = f"/tasks/{task['id']}"
    client.put(path, json={"title": "Buy milk"})
    client.put(path, json={"description": "Three litres"})
    client.put(path, json={"title": 'It\'s "milk"', "description": None})
    client.patch(f"{path}/complete")
    client.patch(f"{path}/incomplete")
    client.delete(path)
    assert [entry["description"] for entry in entries_of(task["id"])[::-1]] == [
        "title: 'Buy'",
        "title: 'Buy' -> 'Buy milk'",
        "description: 'Two litres' -> 'Three litres'",
        "title: 'Buy milk' -> 'It's \"milk\"'; description: 'Three litres' -> none",
        "'It's \"milk\"': is_completed: false -> true",
        "'It's \"milk\"': is_completed: true -> false",
        "title: 'It's \"milk\"'",
    ]


def test_a_description_of_a_long_change_stays_short(
    client: httpx.Client, create: Create, entries_of: EntriesOf
) -> None:
    task = create(description="🦀" * DESCRIPTION_LENGTH)
    data_of(client.put(f"/tasks/{task['id']}", json={"description": "🐧" * DESCRIPTION_LENGTH}), 200, "TASK_UPDATED")
    assert len(entries_of(task["id"])[0]["description"]) < 300


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"page": 1},
        {"page": 2},
        {"page": 3},
        {"page": 4},
        {"page": 1000},
        {"limit": 1},
        {"limit": 22},
        {"limit": LONG},
        {"limit": 24},
        {"limit": 100},
        {"limit": 1, "page": LONG},
        {"limit": 1, "page": LONG + 1},
        {"limit": 5, "page": 5},
        {"limit": 5, "page": 6},
        {"offset": 0},
        {"offset": 1},
        {"offset": 7},
        {"offset": 10},
        {"offset": 20},
        {"offset": 22},
        {"offset": 23},
        {"offset": 1000},
        {"limit": 5, "offset": 5},
        {"limit": 5, "offset": 7},
        {"limit": 5, "offset": 18},
        {"limit": 5, "offset": 19},
        {"limit": 100, "offset": 3},
        {"page": 1, "offset": 15},
        {"page": 2, "offset": 0},
        {"page": 3, "limit": 4, "offset": 1},
        {"page": 1, "limit": 10, "offset": ""},
    ],
    ids=lambda query: "&".join(f"{name}={value}" for name, value in query.items()) or "no query",
)
def test_pages(client: httpx.Client, long_task: dict[str, Any], entries_of: EntriesOf, query: dict[str, Any]) -> None:
    everything = entries_of(long_task["id"])
    assert len(everything) == LONG

    limit = query.get("limit", PAGE_SIZE)
    start = (query["page"] - 1) * limit if "page" in query else query.get("offset", 0)
    page = data_of(client.get("/history", params={"task_id": long_task["id"], **query}))
    assert set(page) == {"items", "pagination"}
    assert page["items"] == everything[start : start + limit]
    assert page["pagination"] == {
        "total_count": LONG,
        "total_pages": -(-LONG // limit),
        "current_page": start // limit + 1,
        "page_size": limit,
        "has_next": start + limit < LONG,
        "has_prev": start > 0,
    }


def test_an_empty_selection(client: httpx.Client) -> None:
    page = data_of(client.get("/history", params={"task_id": NOBODY}))
    assert page == {
        "items": [],
        "pagination": {
            "total_count": 0,
            "total_pages": 0,
            "current_page": 1,
            "page_size": PAGE_SIZE,
            "has_next": False,
            "has_prev": False,
        },
    }


def test_the_address_in_the_contract(client: httpx.Client, create: Create) -> None:
    create()
    page = data_of(client.get("/history?page=1&limit=10&offset=&task_id=&action_type="))
    assert page == data_of(client.get("/history"))
    assert len(page["items"]) <= 10


@pytest.mark.parametrize("action", [None, *ACTIONS])
def test_the_whole_history_newest_first(
    client: httpx.Client, service_sql: Sql, lived: list[dict[str, Any]], action: str | None
) -> None:
    client.delete(f"/tasks/{lived[0]['id']}")
    filters = {"action_type": action} if action else {}
    rows = service_sql.rows(
        "SELECT history_id::text, timestamp FROM task_history WHERE %(action)s IS NULL OR action_type = %(action)s",
        {"action": action},
    )
    seen: list[dict[str, Any]] = []
    number = 1
    while True:
        page = data_of(client.get("/history", params={"limit": 100, "page": number, **filters}))
        seen += page["items"]
        assert page["pagination"]["total_count"] == len(rows)
        if not page["pagination"]["has_next"]:
            break
        number += 1
    assert number == page["pagination"]["total_pages"]
    assert sorted(entry["history_id"] for entry in seen) == sorted(history_id for history_id, _ in rows)
    assert [entry["timestamp"] for entry in seen] == sorted((entry["timestamp"] for entry in seen), reverse=True)
    assert {entry["action_type"] for entry in seen} == ({action} if action else set(ACTIONS))


def test_filters_together(client: httpx.Client, long_task: dict[str, Any]) -> None:
    for action, count in (("CREATED", 1), ("UPDATED", LONG - 1), ("DELETED", 0)):
        page = data_of(client.get("/history", params={"task_id": long_task["id"], "action_type": action, "limit": 5}))
        assert page["pagination"]["total_count"] == count
        assert page["pagination"]["has_next"] is (count > 5)
        assert len(page["items"]) == min(count, 5)
        assert {(entry["task_id"], entry["action_type"]) for entry in page["items"]} <= {(long_task["id"], action)}


def test_a_task_id_may_be_in_upper_case(client: httpx.Client, long_task: dict[str, Any]) -> None:
    page = data_of(client.get("/history", params={"task_id": long_task["id"].upper()}))
    assert page["pagination"]["total_count"] == LONG


def test_no_method_changes_the_history(client: httpx.Client, long_task: dict[str, Any], entries_of: EntriesOf) -> None:
    before = entries_of(long_task["id"])
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/history", f"/history/{before[0]['history_id']}"):
            assert client.request(method, path, json={"description": "x"}).status_code in (404, 405)
    assert entries_of(long_task["id"]) == before
