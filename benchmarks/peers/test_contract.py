"""taskapi and its peers do the same work: one test of the contract, field by field, for each of them."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from benchmarks.peers.commands import LEAN
from tests.support.envelope import data_of, error_of, fields_of
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql

TASKS = "/api/v1/tasks"
HISTORY = "/api/v1/history"
TASK_FIELDS = {"id", "title", "description", "is_completed", "created_at", "updated_at", "completed_at"}
ENTRY_FIELDS = {"history_id", "task_id", "action_type", "description", "timestamp"}
"""What all of them tell. taskapi tells more: who made the change, and in which version."""
# Pydantic leaves out a fraction that is nothing: one time in a million.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


@pytest.fixture(autouse=True)
def _replay(client: httpx.Client, sql: Sql, implementation: str) -> Any:
    """Whatever a test did, the history tells it, where it has snapshots."""
    yield
    if implementation != LEAN:
        assert_replay_equals_tasks(sql)


@pytest.fixture
def task(client: httpx.Client) -> dict[str, Any]:
    """A new task."""
    created: dict[str, Any] = data_of(
        client.post(TASKS, json={"title": "Buy milk", "description": "Two litres"}), 201, "TASK_CREATED"
    )
    return created


def path(task: dict[str, Any], action: str = "") -> str:
    return f"{TASKS}/{task['id']}{action}"


def assert_task(task: dict[str, Any]) -> None:
    assert set(task) == TASK_FIELDS
    assert UUID(task["id"]).version == 4
    assert str(UUID(task["id"])) == task["id"]
    assert TIME.fullmatch(task["created_at"])
    assert TIME.fullmatch(task["updated_at"])
    assert task["is_completed"] is (task["completed_at"] is not None)
    if task["is_completed"]:
        assert TIME.fullmatch(task["completed_at"])


def ids_of(client: httpx.Client) -> set[str]:
    """The ids of all tasks."""
    return {task["id"] for task in data_of(client.get(TASKS))}


def entries_of(client: httpx.Client, task: dict[str, Any]) -> list[dict[str, Any]]:
    """The task's history, newest first."""
    items: list[dict[str, Any]] = data_of(client.get(HISTORY, params={"task_id": task["id"], "limit": 100}))["items"]
    return items


def told_of(client: httpx.Client, task: dict[str, Any]) -> list[tuple[str, str]]:
    """What the task's history says, newest first."""
    return [(entry["action_type"], entry["description"]) for entry in entries_of(client, task)]


def test_health(client: httpx.Client) -> None:
    assert data_of(client.get("/api/v1/health")) == {"status": "healthy", "service": "taskapi", "version": "1.0.0"}


def test_create(client: httpx.Client) -> None:
    before = datetime.now(UTC)
    new = {"title": " Äpfel 🍎 ", "description": "zwei\n\"Pfund\" 'rot' \\"}
    created = data_of(client.post(TASKS, json=new), 201, "TASK_CREATED")
    assert_task(created)
    assert {name: created[name] for name in new} == new
    assert created["is_completed"] is False
    assert created["created_at"] == created["updated_at"]
    assert before <= datetime.fromisoformat(created["created_at"]) <= datetime.now(UTC)
    assert data_of(client.get(path(created))) == created
    (entry,) = entries_of(client, created)
    assert set(entry) >= ENTRY_FIELDS
    assert UUID(entry["history_id"])
    assert entry["task_id"] == created["id"]
    assert entry["action_type"] == "CREATED"
    assert entry["description"] == "title: ' Äpfel 🍎 '"
    assert entry["timestamp"] == created["updated_at"]


def test_create_without_description_and_at_the_limits(client: httpx.Client) -> None:
    assert data_of(client.post(TASKS, json={"title": "x"}), 201, "TASK_CREATED")["description"] is None
    longest = {"title": "🍎" * 255, "description": "ä" * 5000}
    created = data_of(client.post(TASKS, json=longest), 201, "TASK_CREATED")
    assert {name: created[name] for name in longest} == longest


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": None}, "title"),
        ({"title": ""}, "title"),
        ({"title": " \t\u00a0"}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"title": 5}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": "x", "description": "y" * 5001}, "description"),
        ({"title": "x", "description": ["y"]}, "description"),
        ({"title": "x", "colour": "red"}, "colour"),
        ({"title": "x", "is_completed": True}, "is_completed"),
    ],
)
def test_create_refuses(client: httpx.Client, sql: Sql, body: dict[str, Any], field: str) -> None:
    before = sql.value("SELECT count(*) FROM tasks")
    assert fields_of(error_of(client.post(TASKS, json=body), 422)) == {field}
    assert sql.value("SELECT count(*) FROM tasks") == before


def test_lone_surrogates_are_refused(client: httpx.Client) -> None:
    body = rb'{"title": "a\ud800b"}'
    assert fields_of(error_of(client.post(TASKS, content=body, headers={"Content-Type": "application/json"}), 422)) == {
        "title"
    }


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_no_json_is_400(client: httpx.Client, task: dict[str, Any], method: str) -> None:
    url = TASKS if method == "POST" else path(task)
    for body in (b'{"title": ', b"title=x", b'{"title": "x"} y'):
        error_of(client.request(method, url, content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_json_that_is_no_object_is_422(client: httpx.Client, task: dict[str, Any], method: str) -> None:
    error_of(client.request(method, TASKS if method == "POST" else path(task), json=["title"]), 422)


def test_list_is_incomplete_first_then_newest_first(client: httpx.Client, sql: Sql) -> None:
    made = [data_of(client.post(TASKS, json={"title": f"{n}"}), 201, "TASK_CREATED") for n in range(6)]
    for one in made[1::2]:
        data_of(client.patch(path(one, "/complete")), 200, "TASK_COMPLETED")
    listed = data_of(client.get(TASKS))
    for one in listed:
        assert_task(one)
    assert [one["id"] for one in listed] == [
        row[0] for row in sql.rows("SELECT id::text FROM tasks ORDER BY is_completed, created_at DESC, id")
    ]
    ids = {one["id"] for one in made}
    assert [one["title"] for one in listed if one["id"] in ids] == ["4", "2", "0", "5", "3", "1"]
    assert listed == [data_of(client.get(TASKS + "/" + one["id"])) for one in listed]


def test_update(client: httpx.Client, task: dict[str, Any]) -> None:
    titled = data_of(client.put(path(task), json={"title": "Buy oat milk"}), 200, "TASK_UPDATED")
    assert_task(titled)
    assert titled == {**task, "title": "Buy oat milk", "updated_at": titled["updated_at"]}
    assert titled["updated_at"] > task["updated_at"]
    assert entries_of(client, task)[0]["timestamp"] == titled["updated_at"]

    long = "y" * 101
    data_of(client.put(path(task), json={"description": long}), 200, "TASK_UPDATED")
    cleared = data_of(client.put(path(task), json={"title": "It's", "description": None}), 200, "TASK_UPDATED")
    assert cleared == {**task, "title": "It's", "description": None, "updated_at": cleared["updated_at"]}
    assert data_of(client.get(path(task))) == cleared
    assert told_of(client, task) == [
        ("UPDATED", f"title: 'Buy oat milk' -> 'It's'; description: '{'y' * 100}…' -> none"),
        ("UPDATED", f"description: 'Two litres' -> '{'y' * 100}…'"),
        ("UPDATED", "title: 'Buy milk' -> 'Buy oat milk'"),
        ("CREATED", "title: 'Buy milk'"),
    ]


def test_update_to_the_same_writes_nothing(client: httpx.Client, task: dict[str, Any]) -> None:
    for same in (
        {"title": "Buy milk"},
        {"description": "Two litres"},
        {"title": "Buy milk", "description": "Two litres"},
    ):
        assert data_of(client.put(path(task), json=same), 200, "TASK_UPDATED") == task
    assert len(entries_of(client, task)) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": None}, "title"),
        ({"title": " "}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"description": 5}, "description"),
        ({"description": "y" * 5001}, "description"),
        ({"id": str(uuid4())}, "id"),
        ({"title": "x", "colour": "red"}, "colour"),
        ({}, None),
    ],
)
def test_update_refuses(client: httpx.Client, task: dict[str, Any], body: dict[str, Any], field: str | None) -> None:
    error = error_of(client.put(path(task), json=body), 422)
    assert field is None or fields_of(error) == {field}
    assert data_of(client.get(path(task))) == task


def test_complete_and_reopen(client: httpx.Client, task: dict[str, Any]) -> None:
    completed = data_of(client.patch(path(task, "/complete")), 200, "TASK_COMPLETED")
    assert_task(completed)
    now = completed["updated_at"]
    assert completed == {**task, "is_completed": True, "updated_at": now, "completed_at": now}
    assert now > task["updated_at"]
    assert data_of(client.patch(path(task, "/complete")), 200, "TASK_COMPLETED") == completed

    reopened = data_of(client.patch(path(task, "/incomplete")), 200, "TASK_INCOMPLETE")
    assert reopened == {**task, "updated_at": reopened["updated_at"]}
    assert reopened["updated_at"] > now
    assert data_of(client.patch(path(task, "/incomplete")), 200, "TASK_INCOMPLETE") == reopened
    assert data_of(client.get(path(task))) == reopened
    assert [entry["timestamp"] for entry in entries_of(client, task)[:2]] == [reopened["updated_at"], now]
    assert told_of(client, task) == [
        ("INCOMPLETED", "'Buy milk': is_completed: true -> false"),
        ("COMPLETED", "'Buy milk': is_completed: false -> true"),
        ("CREATED", "title: 'Buy milk'"),
    ]


def test_reopening_a_new_task_writes_nothing(client: httpx.Client, task: dict[str, Any]) -> None:
    assert data_of(client.patch(path(task, "/incomplete")), 200, "TASK_INCOMPLETE") == task
    assert len(entries_of(client, task)) == 1


def test_delete(client: httpx.Client, task: dict[str, Any]) -> None:
    completed = data_of(client.patch(path(task, "/complete")), 200, "TASK_COMPLETED")
    assert data_of(client.delete(path(task)), 200, "TASK_DELETED") is None
    for again in (client.get(path(task)), client.delete(path(task)), client.patch(path(task, "/complete"))):
        error_of(again, 404)
    assert task["id"] not in ids_of(client)
    assert told_of(client, task)[0] == ("DELETED", "title: 'Buy milk'")
    assert entries_of(client, task)[0]["timestamp"] > completed["updated_at"]


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete"), ("PATCH", "/incomplete")],
)
def test_unknown_and_wrong_ids(client: httpx.Client, method: str, action: str) -> None:
    body = {"title": "x"} if method == "PUT" else None
    error_of(client.request(method, f"{TASKS}/{uuid4()}{action}", json=body), 404)
    error_of(client.request(method, f"{TASKS}/5{action}", json=body), 422)


def test_unknown_path_and_method(client: httpx.Client) -> None:
    error_of(client.get("/api/v1/colours"), 404)
    error_of(client.put(TASKS, json={"title": "x"}), 405)


def test_history_pages(client: httpx.Client, sql: Sql, task: dict[str, Any]) -> None:
    for n in range(11):
        data_of(client.put(path(task), json={"title": f"{n}"}), 200, "TASK_UPDATED")
    total = sql.value("SELECT count(*) FROM task_history")
    page = data_of(client.get(HISTORY))
    assert set(page) == {"items", "pagination"}
    assert len(page["items"]) == 10
    assert page["pagination"] == {
        "total_count": total,
        "total_pages": -(-total // 10),
        "current_page": 1,
        "page_size": 10,
        "has_next": True,
        "has_prev": False,
    }
    whole: list[dict[str, Any]] = []
    for number in range(1, -(-total // 7) + 1):
        page = data_of(client.get(HISTORY, params={"page": number, "limit": 7}))
        assert page["pagination"]["current_page"] == number
        assert page["pagination"]["has_next"] is (number * 7 < total)
        assert page["pagination"]["has_prev"] is (number > 1)
        whole += page["items"]
    assert [entry["history_id"] for entry in whole] == [
        row[0] for row in sql.rows("SELECT history_id::text FROM task_history ORDER BY timestamp DESC")
    ]
    for entry in whole:
        assert set(entry) >= ENTRY_FIELDS
        assert TIME.fullmatch(entry["timestamp"])
    assert data_of(client.get(HISTORY, params={"offset": 3, "limit": 4}))["items"] == whole[3:7]
    assert data_of(client.get(HISTORY, params={"offset": 3, "page": 2, "limit": 4}))["items"] == whole[4:8]

    past = data_of(client.get(HISTORY, params={"page": 10**20}))
    assert past["items"] == []
    assert past["pagination"]["current_page"] == 10**20
    assert past["pagination"]["has_next"] is False


def test_history_selections(client: httpx.Client, task: dict[str, Any]) -> None:
    data_of(client.patch(path(task, "/complete")), 200, "TASK_COMPLETED")
    data_of(client.put(path(task), json={"title": "x"}), 200, "TASK_UPDATED")
    assert [action for action, _ in told_of(client, task)] == ["UPDATED", "COMPLETED", "CREATED"]
    both = data_of(client.get(HISTORY, params={"task_id": task["id"], "action_type": "COMPLETED"}))
    assert [entry["action_type"] for entry in both["items"]] == ["COMPLETED"]
    assert both["pagination"]["total_count"] == 1
    completed = data_of(client.get(HISTORY, params={"action_type": "COMPLETED"}))
    assert {entry["action_type"] for entry in completed["items"]} == {"COMPLETED"}
    assert completed["items"][0] == both["items"][0]
    nothing = data_of(client.get(HISTORY, params={"task_id": str(uuid4())}))
    assert nothing["items"] == []
    assert nothing["pagination"] == {
        "total_count": 0,
        "total_pages": 0,
        "current_page": 1,
        "page_size": 10,
        "has_next": False,
        "has_prev": False,
    }


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        "limit=0",
        "limit=101",
        "limit=2.5",
        "offset=-1",
        "task_id=5",
        "action_type=SEEN",
        "colour=red",
    ],
)
def test_history_refuses(client: httpx.Client, query: str) -> None:
    assert fields_of(error_of(client.get(f"{HISTORY}?{query}"), 422)) == {query.partition("=")[0]}


def test_weekly_stats(client: httpx.Client, sql: Sql, task: dict[str, Any]) -> None:
    data_of(client.patch(path(task, "/complete")), 200, "TASK_COMPLETED")
    stats = data_of(client.get("/api/v1/stats/weekly"))
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday())
    completed = sql.value("SELECT count(*) FROM tasks WHERE is_completed")
    tasks = sql.value("SELECT count(*) FROM tasks")
    assert completed >= 1
    assert stats == {
        "tasks_created_this_week": tasks,
        "tasks_completed_this_week": completed,
        "total_completed": completed,
        "total_incomplete": tasks - completed,
        "total_tasks": tasks,
        "week_start": f"{monday}T00:00:00Z",
        "week_end": f"{monday + timedelta(days=6)}T23:59:59Z",
    }


def test_weekly_stats_leave_out_other_weeks(client: httpx.Client, sql: Sql, implementation: str) -> None:
    before, there = data_of(client.get("/api/v1/stats/weekly")), ids_of(client)
    week = "date_trunc('week', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
    with sql.without_triggers():
        for edge in (f"{week} - interval '1 microsecond'", week, f"{week} + interval '7 days'"):
            sql.execute(
                "INSERT INTO tasks (title, is_completed, created_at, updated_at, completed_at)"
                f" VALUES ('edge', true, {edge}, {edge}, {edge})"
            )
        if implementation != LEAN:
            sql.execute(
                "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
                " SELECT id, 'CREATED', 'edge', created_at, 1, to_jsonb(answer(tasks)) FROM tasks WHERE title = 'edge'"
            )
    after = data_of(client.get("/api/v1/stats/weekly"))
    for task_id in ids_of(client) - there:
        data_of(client.delete(f"{TASKS}/{task_id}"), 200, "TASK_DELETED")
    assert {name: after[name] - before[name] for name in after if not name.startswith("week")} == {
        "tasks_created_this_week": 1,
        "tasks_completed_this_week": 1,
        "total_completed": 3,
        "total_incomplete": 0,
        "total_tasks": 3,
    }


def test_changes_at_once_are_all_told(client: httpx.Client, task: dict[str, Any]) -> None:
    """Every writer takes the lock: no update is lost, and a completion happens once."""

    def update(n: int) -> None:
        data_of(client.put(path(task), json={"title": f"by {n}"}), 200, "TASK_UPDATED")

    def complete(_: int) -> None:
        data_of(client.patch(path(task, "/complete")), 200, "TASK_COMPLETED")

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(change, n) for n in range(12) for change in (update, complete)]:
            done.result()
    told = [action for action, _ in told_of(client, task)]
    assert sorted(told) == ["COMPLETED", "CREATED", *["UPDATED"] * 12]
