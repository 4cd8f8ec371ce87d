"""Tasks: each request of the contract's table, field by field and rule by rule."""

import re
from collections.abc import Callable
from typing import Any
from uuid import RFC_4122, UUID

import httpx
import pytest

from taskapi.schemas.fields import DESCRIPTION_LENGTH, TITLE_LENGTH
from tests.support.envelope import data_of, error_of, fields_of
from tests.support.sql import Sql
from tests.support.tasks import NOBODY

Create = Callable[..., dict[str, Any]]
EntriesOf = Callable[[str], list[dict[str, Any]]]

FIELDS = {"id", "title", "description", "is_completed", "created_at", "updated_at", "completed_at"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

AS_SENT = {
    "spaces around": "  Buy milk  ",
    "line ends": "\r\n\tBuy\n\nmilk\r\n",
    "emoji": "👩‍👩‍👧‍👦 🇪🇺 ❤️‍🔥 🧑🏿‍🚀",
    "quotes": "it's \"quoted\" `so` “so” «so» ''",
    "SQL": "'); DROP TABLE tasks; --",
    "percent": "100 % %s %(title)s %% %d",
    "backslashes": r"C:\new\table \u0041 \' \\",
    "braces": "{title} {0} ${x} {{ x }} <b>&amp;</b>",
    "right to left": "\u202eمهمة جديدة\u202c שלום",
    "combining": "e\u0301 a\u0308\u0304 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "composed": "\u00e9 and e\u0301, \u212b and \u00c5",
    "control characters": "\x01\x08\x1b[31m\x7f\x85",
    "unassigned and private": "\U000e0001\ue000\ufffe\uffff\U0010ffff",
    "zero width": "x\u200b\ufeff\u2060",
    "null, as a word": "null",
    "a number, as text": "1e999",
    "JSON": '{"title": "x", "a": [1, null]}',
    "line separators": "a\u2028b\u2029c",
}

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE_SPACE += "\u2028\u2029\u202f\u205f\u3000"
"""Every character that has the property White_Space (Unicode 16, PropList.txt)."""


def test_a_new_task(client: httpx.Client, create: Create, entries_of: EntriesOf, service_sql: Sql) -> None:
    before = service_sql.value("SELECT now() AT TIME ZONE 'UTC'")
    task = create("Buy milk", description="Two litres")
    after = service_sql.value("SELECT now() AT TIME ZONE 'UTC'")
    assert set(task) == FIELDS
    assert UUID(task["id"]).version == 4
    assert UUID(task["id"]).variant == RFC_4122
    assert str(UUID(task["id"])) == task["id"]
    assert task["title"] == "Buy milk"
    assert task["description"] == "Two litres"
    assert task["is_completed"] is False
    assert TIME.fullmatch(task["created_at"])
    assert f"{before.isoformat(timespec='microseconds')}Z" <= task["created_at"]
    assert task["created_at"] <= f"{after.isoformat(timespec='microseconds')}Z"
    assert task["updated_at"] == task["created_at"]
    assert task["completed_at"] is None
    assert [entry["action_type"] for entry in entries_of(task["id"])] == ["CREATED"]


def test_location_leads_to_the_new_task(client: httpx.Client) -> None:
    answer = client.post("/tasks", json={"title": "Buy milk"})
    task = data_of(answer, 201, "TASK_CREATED")
    assert answer.headers["Location"] == f"/api/v1/tasks/{task['id']}"
    assert data_of(client.get(answer.request.url.join(answer.headers["Location"]))) == task


def test_the_host_header_has_no_part_in_location(client: httpx.Client) -> None:
    answer = client.post("/tasks", json={"title": "Buy milk"}, headers={"Host": "evil.example"})
    assert answer.headers["Location"].startswith("/api/v1/tasks/")


@pytest.mark.parametrize("fields", [{}, {"description": None}])
def test_a_description_is_optional(create: Create, fields: dict[str, None]) -> None:
    assert create(**fields)["description"] is None


def test_an_empty_description_is_one(create: Create) -> None:
    assert create(description="")["description"] == ""


def test_equal_tasks_are_two(create: Create) -> None:
    assert create("The same")["id"] != create("The same")["id"]


@pytest.mark.parametrize("text", AS_SENT.values(), ids=AS_SENT)
def test_texts_are_stored_as_sent(client: httpx.Client, create: Create, service_sql: Sql, text: str) -> None:
    created = create(text, description=text)
    other = create("Another title", description="Another description")
    updated = data_of(
        client.put(f"/tasks/{other['id']}", json={"title": text, "description": text}), 200, "TASK_UPDATED"
    )
    listed = {task["id"]: task for task in data_of(client.get("/tasks"))}
    for task in (created, updated):
        got = data_of(client.get(f"/tasks/{task['id']}"))
        stored = service_sql.rows("SELECT title, description FROM tasks WHERE id = %s", (task["id"],))
        assert stored == [(text, text)]
        for seen in (task, got, listed[task["id"]]):
            assert (seen["title"], seen["description"]) == (text, text)


def test_escaped_and_plain_characters_are_the_same(client: httpx.Client) -> None:
    for body in (rb'{"title": "\u00e9 \ud83e\udd80 \/ \u0022"}', '{"title": "é 🦀 / \\""}'.encode()):
        answer = client.post("/tasks", content=body, headers={"Content-Type": "application/json"})
        assert data_of(answer, 201, "TASK_CREATED")["title"] == 'é 🦀 / "'


@pytest.mark.parametrize("character", ["x", "é", "🦀", "e\u0301"[1:]], ids=["ASCII", "two bytes", "emoji", "combining"])
@pytest.mark.parametrize(("field", "longest"), [("title", TITLE_LENGTH), ("description", DESCRIPTION_LENGTH)])
def test_lengths_are_counted_in_code_points(
    client: httpx.Client, create: Create, field: str, longest: int, character: str
) -> None:
    task = create(**{field: character * longest})
    assert task[field] == character * longest
    path = f"/tasks/{create()['id']}"
    assert data_of(client.put(path, json={field: character * longest}), 200, "TASK_UPDATED")[field] == task[field]

    too_long = {"title": "x", field: character * (longest + 1)}
    assert fields_of(error_of(client.post("/tasks", json=too_long), 422)) == {field}
    assert fields_of(error_of(client.put(path, json=too_long), 422)) == {field}


@pytest.mark.parametrize("character", WHITE_SPACE, ids=[f"U+{ord(character):04X}" for character in WHITE_SPACE])
def test_a_title_is_not_only_white_space(client: httpx.Client, create: Create, character: str) -> None:
    path = f"/tasks/{create()['id']}"
    for title in (character, character * TITLE_LENGTH, f"{character}{WHITE_SPACE}{character}"):
        assert fields_of(error_of(client.post("/tasks", json={"title": title}), 422)) == {"title"}
        assert fields_of(error_of(client.put(path, json={"title": title}), 422)) == {"title"}
    around = f"{character}x{character}"
    assert create(around)["title"] == around


def test_one_character_is_a_title(create: Create) -> None:
    assert create("x")["title"] == "x"


def list_order(task: dict[str, Any]) -> tuple[Any, ...]:
    """Incomplete first, then the newest first: times of one form are in the order of their digits, negated here."""
    return task["is_completed"], [-ord(digit) for digit in task["created_at"]], task["id"]


def test_the_list_has_every_task_in_order(client: httpx.Client, create: Create, service_sql: Sql) -> None:
    assert type(data_of(client.get("/tasks"))) is list
    tasks = [create(f"Task {number}", description=str(number)) for number in range(6)]
    for number in (1, 4, 2):
        tasks[number] = data_of(client.patch(f"/tasks/{tasks[number]['id']}/complete"), 200, "TASK_COMPLETED")
    data_of(client.put(f"/tasks/{tasks[0]['id']}", json={"title": "Changed"}), 200, "TASK_UPDATED")
    listed = data_of(client.get("/tasks"))
    assert listed == sorted(listed, key=list_order)
    assert {task["id"] for task in listed} == {str(task_id) for (task_id,) in service_sql.rows("SELECT id FROM tasks")}
    ours = [task for task in listed if task["id"] in {task["id"] for task in tasks}]
    assert [tasks.index(next(task for task in tasks if task["id"] == one["id"])) for one in ours] == [5, 3, 0, 4, 2, 1]
    for task in ours:
        assert task == data_of(client.get(f"/tasks/{task['id']}"))


def test_ties_in_the_list_are_by_id(client: httpx.Client, service_sql: Sql) -> None:
    with service_sql.without_triggers():
        rows = service_sql.rows(
            "INSERT INTO tasks (title, created_at, updated_at) SELECT 'tied', moment, moment"
            " FROM clock_timestamp() AS moment, generate_series(1, 20) RETURNING id"
        )
    listed = [task["id"] for task in data_of(client.get("/tasks")) if task["title"] == "tied"]
    assert listed == sorted(str(task_id) for (task_id,) in rows)


def test_times_are_utc_with_microseconds(client: httpx.Client, service_sql: Sql) -> None:
    with service_sql.without_triggers():
        task_id = service_sql.value(
            "INSERT INTO tasks (title, is_completed, created_at, updated_at, completed_at) VALUES ('x', true,"
            " '2025-12-11 10:30:00+02', '2025-12-11 10:30:00.1Z', '2025-12-11 10:30:00.000001Z') RETURNING id"
        )
    task = data_of(client.get(f"/tasks/{task_id}"))
    assert task["created_at"] == "2025-12-11T08:30:00.000000Z"
    assert task["updated_at"] == "2025-12-11T10:30:00.100000Z"
    assert task["completed_at"] == "2025-12-11T10:30:00.000001Z"
    assert task in data_of(client.get("/tasks"))


def test_an_id_may_be_in_upper_case(client: httpx.Client, create: Create) -> None:
    task = create()
    assert data_of(client.get(f"/tasks/{task['id'].upper()}")) == task


@pytest.fixture(params=[False, True], ids=["incomplete", "completed"])
def old(request: pytest.FixtureRequest, client: httpx.Client, create: Create) -> dict[str, Any]:
    """A task to be changed."""
    task = create("Old title", description="Old description")
    return data_of(client.patch(f"/tasks/{task['id']}/complete"), 200, "TASK_COMPLETED") if request.param else task


@pytest.mark.parametrize(
    ("body", "title", "description"),
    [
        ({"title": "New"}, "New", "Old description"),
        ({"description": "New"}, "Old title", "New"),
        ({"description": ""}, "Old title", ""),
        ({"description": None}, "Old title", None),
        ({"title": "New", "description": None}, "New", None),
        ({"title": "New", "description": "New, too"}, "New", "New, too"),
        ({"title": "Old title", "description": "New"}, "Old title", "New"),
        ({"title": "old title"}, "old title", "Old description"),
        ({"title": "Old title "}, "Old title ", "Old description"),
    ],
)
def test_put_changes_what_it_names(
    client: httpx.Client, old: dict[str, Any], body: dict[str, Any], title: str, description: str | None
) -> None:
    updated = data_of(client.put(f"/tasks/{old['id']}", json=body), 200, "TASK_UPDATED")
    assert updated["updated_at"] > old["updated_at"]
    assert TIME.fullmatch(updated["updated_at"])
    assert updated == {**old, "title": title, "description": description, "updated_at": updated["updated_at"]}
    assert data_of(client.get(f"/tasks/{old['id']}")) == updated


def test_put_writes_one_entry(client: httpx.Client, old: dict[str, Any], entries_of: EntriesOf) -> None:
    before = entries_of(old["id"])
    data_of(client.put(f"/tasks/{old['id']}", json={"title": "New", "description": "New"}), 200, "TASK_UPDATED")
    newest, *earlier = entries_of(old["id"])
    assert newest["action_type"] == "UPDATED"
    assert earlier == before


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH complete", "PATCH incomplete"])
def test_a_task_that_is_not_there_is_404(client: httpx.Client, method: str) -> None:
    assert "task" in error_of(request(client, method, NOBODY), 404)


def request(client: httpx.Client, method: str, task_id: str) -> httpx.Response:
    """`method` may name what comes behind the id."""
    method, _, suffix = method.partition(" ")
    body: dict[str, Any] = {"json": {"title": "New"}} if method == "PUT" else {}
    return client.request(method, f"/tasks/{task_id}/{suffix}".rstrip("/"), **body)


@pytest.mark.parametrize("body", [{}, {"title": None}, {"title": None, "description": "x"}])
def test_put_needs_a_field_and_a_title_is_never_null(
    client: httpx.Client, create: Create, body: dict[str, Any]
) -> None:
    task = create()
    assert fields_of(error_of(client.put(f"/tasks/{task['id']}", json=body), 422)) == {"title" if body else "body"}
    assert data_of(client.get(f"/tasks/{task['id']}")) == task


@pytest.mark.parametrize("body", [{"title": "Same"}, {"description": None}, {"title": "Same", "description": None}])
def test_a_put_of_the_same_values_writes_nothing(
    client: httpx.Client, create: Create, written: Callable[[], Any], body: dict[str, Any]
) -> None:
    task = create("Same")
    before = written()
    assert data_of(client.put(f"/tasks/{task['id']}", json=body), 200, "TASK_UPDATED") == task
    assert written() == before
    assert data_of(client.get(f"/tasks/{task['id']}")) == task


def test_completing_and_reopening(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    task = create("Buy milk", description="Two litres")
    path = f"/tasks/{task['id']}"

    completed = data_of(client.patch(f"{path}/complete"), 200, "TASK_COMPLETED")
    assert completed["updated_at"] > task["updated_at"]
    assert completed == {
        **task,
        "is_completed": True,
        "updated_at": completed["updated_at"],
        "completed_at": completed["updated_at"],
    }
    assert data_of(client.get(path)) == completed

    reopened = data_of(client.patch(f"{path}/incomplete"), 200, "TASK_INCOMPLETE")
    assert reopened["updated_at"] > completed["updated_at"]
    assert reopened == {**task, "updated_at": reopened["updated_at"]}
    assert data_of(client.get(path)) == reopened
    assert [entry["action_type"] for entry in entries_of(task["id"])] == ["INCOMPLETED", "COMPLETED", "CREATED"]


def test_completing_twice_writes_once(client: httpx.Client, create: Create, written: Callable[[], Any]) -> None:
    path = f"/tasks/{create()['id']}"
    completed = data_of(client.patch(f"{path}/complete"), 200, "TASK_COMPLETED")
    before = written()
    assert data_of(client.patch(f"{path}/complete"), 200, "TASK_COMPLETED") == completed
    assert written() == before


def test_reopening_an_incomplete_task_writes_nothing(
    client: httpx.Client, create: Create, written: Callable[[], Any]
) -> None:
    task = create()
    before = written()
    assert data_of(client.patch(f"/tasks/{task['id']}/incomplete"), 200, "TASK_INCOMPLETE") == task
    assert written() == before


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b'{"title": "New", "is_completed": false}', "application/json"),
        (b"{nonsense", "application/json"),
        (b"\xff\xfe", "text/plain"),
        (b"x" * 100_000, "application/octet-stream"),
    ],
)
def test_a_body_of_patch_and_delete_is_ignored(
    client: httpx.Client, create: Create, body: bytes, content_type: str
) -> None:
    task = create()
    path = f"/tasks/{task['id']}"
    options: dict[str, Any] = {"content": body, "headers": {"Content-Type": content_type}}
    completed = data_of(client.patch(f"{path}/complete", **options), 200, "TASK_COMPLETED")
    assert (completed["title"], completed["is_completed"]) == (task["title"], True)
    assert data_of(client.patch(f"{path}/incomplete", **options), 200, "TASK_INCOMPLETE")["is_completed"] is False
    assert data_of(client.request("DELETE", path, **options), 200, "TASK_DELETED") is None


@pytest.mark.parametrize("completed", [False, True])
def test_a_deleted_task_is_gone(
    client: httpx.Client, create: Create, entries_of: EntriesOf, service_sql: Sql, completed: bool
) -> None:
    task = create()
    path = f"/tasks/{task['id']}"
    if completed:
        data_of(client.patch(f"{path}/complete"), 200, "TASK_COMPLETED")
    assert data_of(client.delete(path), 200, "TASK_DELETED") is None
    assert service_sql.value("SELECT count(*) FROM tasks WHERE id = %s", (task["id"],)) == 0
    assert task["id"] not in [one["id"] for one in data_of(client.get("/tasks"))]
    for method in ("GET", "PUT", "DELETE", "PATCH complete", "PATCH incomplete"):
        error_of(request(client, method, task["id"]), 404)
    assert entries_of(task["id"])[0]["action_type"] == "DELETED"
    assert len(entries_of(task["id"])) == 2 + completed
