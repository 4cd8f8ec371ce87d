"""POST /tasks/bulk: many tasks in one request, all of them or none; and errors that name the tasks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from taskapi.schemas.fields import MAX_ELEMENTS, TITLE_LENGTH
from tests.api.test_envelope import LIMIT
from tests.support import raw
from tests.support.envelope import data_of, error_of
from tests.support.load import Client
from tests.support.replay import assert_replay_equals_tasks
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import NOBODY

PATH = "/tasks/bulk"

POPUPS = {
    "update": "TASK_UPDATED",
    "complete": "TASK_COMPLETED",
    "incomplete": "TASK_INCOMPLETE",
    "delete": "TASK_DELETED",
}
"""The forms that are about tasks that are there, with the popups of their answers."""

Task = dict[str, Any]
Create = Callable[..., Task]


def send(client: httpx.Client, form: str, elements: Any, key: str | None = None, **headers: str) -> httpx.Response:
    if key:
        headers["Idempotency-Key"] = key
    return client.post(PATH, json={form: elements}, headers=headers)


def elements_of(form: str, ids: list[str], versions: dict[str, int] | None = None) -> list[Any]:
    """Elements of the form, each as short as it may be."""
    given = {task_id: {"id": task_id, "version": version} for task_id, version in (versions or {}).items()}
    if form == "update":
        return [{**given.get(task_id, {"id": task_id}), "title": "Changed"} for task_id in ids]
    return [given.get(task_id, task_id) for task_id in ids]


@pytest.fixture
def tasks(client: httpx.Client) -> list[Task]:
    """Four tasks at version 1."""
    created: list[Task] = data_of(
        send(client, "create", [{"title": f"Task {number}"} for number in range(4)]), 201, "TASK_CREATED"
    )
    return created


@pytest.fixture
def ids(tasks: list[Task]) -> list[str]:
    """Their ids, in another order."""
    return [tasks[number]["id"] for number in (2, 0, 3, 1)]


# What it does


def test_create_answers_in_the_order_of_the_request(client: httpx.Client) -> None:
    new = [{"title": "One", "description": "first"}, {"title": "Two"}, {"title": "Three", "description": None}]
    answer = send(client, "create", new)
    created = data_of(answer, 201, "TASK_CREATED")
    assert [(task["title"], task["description"]) for task in created] == [
        ("One", "first"),
        ("Two", None),
        ("Three", None),
    ]
    assert all(data_of(client.get(f"/tasks/{task['id']}")) == task for task in created)
    listed = [task["id"] for task in data_of(client.get("/tasks"))]
    assert [task_id for task_id in listed if task_id in {task["id"] for task in created}] == [
        task["id"] for task in created[::-1]
    ]
    assert not {"Location", "ETag", "Content-Location"} & set(answer.headers)


def test_update_answers_with_every_task(client: httpx.Client, tasks: list[Task]) -> None:
    first, second, third, _ = tasks
    changes = [
        {"id": third["id"].upper(), "title": "Third", "description": "new"},
        {"id": first["id"], "title": first["title"]},
        {"id": second["id"], "description": "new", "version": 1},
    ]
    answer = send(client, "update", changes)
    assert "ETag" not in answer.headers
    after = data_of(answer, 200, "TASK_UPDATED")
    assert [task["id"] for task in after] == [third["id"], first["id"], second["id"]]
    assert after[1] == first
    assert (after[0]["title"], after[0]["description"]) == ("Third", "new")
    assert (after[2]["title"], after[2]["description"]) == (second["title"], "new")
    assert [client.get(f"/tasks/{task['id']}").headers["ETag"] for task in after] == ['"2"', '"1"', '"2"']


def test_complete_and_reopen_answer_with_every_task(client: httpx.Client, ids: list[str]) -> None:
    client.patch(f"/tasks/{ids[1]}/complete")
    already = data_of(client.get(f"/tasks/{ids[1]}"))
    done = data_of(send(client, "complete", elements_of("complete", ids, {ids[1]: 2})), 200, "TASK_COMPLETED")
    assert [task["id"] for task in done] == ids
    assert all(task["is_completed"] and task["completed_at"] for task in done)
    assert done[1] == already
    opened = data_of(send(client, "incomplete", ids[::-1]), 200, "TASK_INCOMPLETE")
    assert [(task["id"], task["completed_at"]) for task in opened] == [(task_id, None) for task_id in ids[::-1]]
    assert data_of(send(client, "incomplete", ids), 200, "TASK_INCOMPLETE") == opened[::-1]


def test_delete_answers_with_nothing(client: httpx.Client, ids: list[str]) -> None:
    assert data_of(send(client, "delete", elements_of("delete", ids[:3], {ids[0]: 1})), 200, "TASK_DELETED") is None
    assert [client.get(f"/tasks/{task_id}").status_code for task_id in ids] == [404, 404, 404, 200]


def test_the_history_keeps_who_wrote_each_and_in_what(client: httpx.Client, ids: list[str]) -> None:
    request_id = uuid4().hex
    headers = {"Change-Set": "clean-up", "X-Request-Id": request_id}
    data_of(send(client, "complete", ids, **headers), 200, "TASK_COMPLETED")
    newest = data_of(client.get("/history", params={"limit": 50}))["items"]
    mine = [entry for entry in newest if entry["request_id"] == request_id]
    assert [entry["task_id"] for entry in mine] == ids[::-1]
    assert {(entry["change_set"], entry["action_type"], entry["version"]) for entry in mine} == {
        ("clean-up", "COMPLETED", 2)
    }


@pytest.mark.parametrize("form", ["update", "complete", "incomplete", "delete"])
def test_a_thousand(client: httpx.Client, form: str) -> None:
    new = [{"title": "x" * 100, "description": "y" * 200}] * MAX_ELEMENTS
    created = data_of(send(client, "create", new), 201, "TASK_CREATED")
    ids = [task["id"] for task in created]
    assert len(ids) == MAX_ELEMENTS
    if form != "delete":
        data = data_of(send(client, form, elements_of(form, ids, dict.fromkeys(ids[::2], 1))), 200, POPUPS[form])
        assert [task["id"] for task in data] == ids
    # Also for the sake of other tests, which list all tasks.
    data_of(send(client, "delete", ids), 200, "TASK_DELETED")


# What stops it all


@pytest.mark.parametrize("form", POPUPS)
def test_missing_tasks_stop_all_and_are_named(
    client: httpx.Client, ids: list[str], written: Callable[[], Any], form: str
) -> None:
    before, other = written(), str(uuid4())
    text = error_of(
        send(client, form, elements_of(form, [ids[0], other, *ids[1:], NOBODY], {ids[0]: 7, other: 1})), 404
    )
    assert text == f"There is no such task: {other}, {NOBODY}."
    assert written() == before


@pytest.mark.parametrize("form", POPUPS)
def test_another_version_stops_all_and_is_named(
    client: httpx.Client, ids: list[str], written: Callable[[], Any], form: str
) -> None:
    client.put(f"/tasks/{ids[2]}", json={"title": "since"})
    before = written()
    answer = send(client, form, elements_of(form, ids, dict.fromkeys(ids, 1)))
    assert error_of(answer, 412).startswith(f"{ids[2]}: The task is at version 2, not 1: title: 'Task 3' -> 'since' (")
    assert "ETag" not in answer.headers
    # About one task, the text is that of a write on one.
    single = client.put(f"/tasks/{ids[2]}", json={"title": "x"}, headers={"If-Match": '"1"'})
    assert error_of(send(client, form, elements_of(form, ids[2:3], {ids[2]: 1})), 412) == error_of(single, 412)
    assert written() == before
    data = data_of(send(client, form, elements_of(form, ids, {**dict.fromkeys(ids, 1), ids[2]: 2})), 200, POPUPS[form])
    assert form == "delete" or [task["id"] for task in data] == ids


LONG = "x" * (TITLE_LENGTH + 1)
UUID_RULE = "must be a UUID such as 3b241101-e2bb-4255-8caf-4136c566a962"
VERSION_RULE = "must be a whole number from 1 to 2147483647"
OTHER = str(uuid4())

WRONG: dict[str, tuple[Any, list[str]]] = {
    "no form": ({}, ["body: must have exactly one of create, update, complete, incomplete, delete"]),
    "two forms": (
        {"create": [{"title": "x"}], "delete": [NOBODY]},
        ["body: must have exactly one of create, update, complete, incomplete, delete"],
    ),
    "an unknown form": ({"upsert": []}, ["upsert: is not known here"]),
    "no object": ([], ["body: must be a JSON object"]),
    "null": ({"create": None}, ["create: must not be null"]),
    "no array": ({"complete": NOBODY}, ["complete: must be an array"]),
    "an object instead": ({"delete": {"0": NOBODY}}, ["delete: must be an array"]),
    "none": ({"create": []}, ["create: must have from 1 to 1000 items"]),
    "a task too many": ({"create": [{"title": "x"}] * 1001}, ["create: must have from 1 to 1000 items"]),
    "an id too many": ({"delete": [str(uuid4()) for _ in range(1001)]}, ["delete: must have from 1 to 1000 items"]),
    "half a million": ({"delete": [1] * 400_000}, ["delete: must have from 1 to 1000 items"]),
    "tasks that are none": (
        {"create": [{"title": "x"}, None, 5, [], "x", {}]},
        [
            "create.1: must not be null",
            "create.2: must be a JSON object",
            "create.3: must be a JSON object",
            "create.4: must be a JSON object",
            "create.5.title: is required",
        ],
    ),
    "fields of a task": (
        {"create": [{"title": "x"}, {"title": LONG, "colour": 1}, {"title": " ", "description": 5}, {"title": "\0"}]},
        [
            "create.1.title: must have at most 255 characters",
            "create.1.colour: is not known here",
            "create.2.title: must have a visible character",
            "create.2.description: must be a string",
            "create.3.title: must not contain U+0000 or lone surrogates",
        ],
    ),
    "a lone surrogate": (
        b'{"create": [{"title": "\\ud800"}]}',
        ["create.0.title: must not contain U+0000 or lone surrogates"],
    ),
    "an id for a new task": ({"create": [{"title": "x", "id": NOBODY}]}, ["create.0.id: is not known here"]),
    "changes": (
        {
            "update": [
                {"id": NOBODY},
                {"title": "x"},
                {"id": OTHER, "title": None},
                {"id": "x", "description": None},
                {"id": 5, "description": None},
                {"id": NOBODY, "version": 3},
                {"id": NOBODY, "is_completed": True},
            ]
        },
        [
            "update.0: must give a title, a description or both",
            "update.1.id: is required",
            "update.2.title: must not be null",
            f"update.3.id: {UUID_RULE}",
            f"update.4.id: {UUID_RULE}",
            "update.5: must give a title, a description or both",
            "update.6.is_completed: is not known here",
        ],
    ),
    "versions": (
        {
            "update": [
                {"id": str(uuid4()), "title": "x", "version": version}
                for version in (0, -1, 1.5, True, "1", None, 2**31, 10**30, [1])
            ]
        },
        [
            *(f"update.{number}.version: {VERSION_RULE}" for number in range(5)),
            "update.5.version: must not be null",
            *(f"update.{number}.version: {VERSION_RULE}" for number in range(6, 9)),
        ],
    ),
    "ids": (
        {"complete": [NOBODY, 5, None, "x", {}, {"id": OTHER, "version": 0}, {"id": OTHER, "title": "x"}, [NOBODY]]},
        [
            f"complete.1: {UUID_RULE}",
            "complete.2: must not be null",
            f"complete.3: {UUID_RULE}",
            "complete.4.id: is required",
            f"complete.5.version: {VERSION_RULE}",
            "complete.6.title: is not known here",
            f"complete.7: {UUID_RULE}",
        ],
    ),
    "an id twice": (
        {"delete": [NOBODY, OTHER, {"id": NOBODY.upper(), "version": 1}, {"id": OTHER}]},
        ["delete.2: is the same task as delete.0", "delete.3: is the same task as delete.1"],
    ),
    "a change twice": (
        {"update": [{"id": NOBODY, "title": "x"}, {"id": NOBODY, "description": "y"}]},
        ["update.1: is the same task as update.0"],
    ),
    "more than an error names": (
        {"complete": [5] * 1000},
        [f"complete.{number}: {UUID_RULE}" for number in range(10)],
    ),
}


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(("body", "faults"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_by_its_place(client: httpx.Client, body: Any, faults: list[str]) -> None:
    sent = {"content": body, "headers": raw.JSON} if isinstance(body, bytes) else {"json": body}
    assert sorted(error_of(client.post(PATH, **sent), 422).split("; ")) == sorted(faults)


@pytest.mark.usefixtures("nothing_written")
def test_a_body_beyond_the_limit_is_413(client: httpx.Client) -> None:
    new = [{"title": "x", "description": "y" * 5000}]
    error_of(send(client, "create", new * (LIMIT // 5000 + 1)), 413)


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_it_is_no_task(client: httpx.Client, method: str) -> None:
    answer = client.request(method, PATH, json={"title": "x"})
    error_of(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_what_is_wrong_comes_in_the_contracts_order(client: httpx.Client, ids: list[str]) -> None:
    key = str(uuid4())
    changes = elements_of("update", ids, {ids[0]: 1})
    first = send(client, "update", changes, key)
    data_of(first, 200, "TASK_UPDATED")
    # Its earlier answer, though the task is at another version by now, and one is gone.
    client.delete(f"/tasks/{ids[3]}")
    assert send(client, "update", changes, key).content == first.content
    assert ids[3] in error_of(send(client, "update", changes), 404)
    assert error_of(send(client, "update", changes[:1]), 412).startswith("The task is at version 2, not 1: ")
    done = elements_of("incomplete", ids[:2], {ids[1]: 7})
    assert ids[1] in error_of(send(client, "incomplete", done), 412)


# Safe retries


def assert_replayed(answer: httpx.Response, first: httpx.Response) -> None:
    assert "Idempotency-Replayed" not in first.headers
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert (answer.status_code, answer.content) == (first.status_code, first.content)


@pytest.mark.parametrize("form", ["create", *POPUPS])
def test_the_same_again_writes_nothing(
    client: httpx.Client, ids: list[str], written: Callable[[], Any], form: str
) -> None:
    if form == "incomplete":
        send(client, "complete", ids)
    elements = [{"title": "New"}, {"title": "Newer"}] if form == "create" else elements_of(form, ids)
    key = str(uuid4())
    first = send(client, form, elements, key)
    assert first.is_success
    before = written()
    assert_replayed(send(client, form, elements, key), first)
    assert written() == before
    # What happens meanwhile does not show.
    touched = [task["id"] for task in first.json()["data"] or []]
    if touched:
        data_of(send(client, "update", [{"id": each, "title": "since"} for each in touched]), 200, "TASK_UPDATED")
        assert_replayed(send(client, form, elements, key), first)
        data_of(send(client, "delete", touched), 200, "TASK_DELETED")
    assert_replayed(send(client, form, elements, key), first)


def test_a_replay_has_what_it_had_not_changed_as_it_is_now(client: httpx.Client, ids: list[str]) -> None:
    data_of(send(client, "complete", ids[:2]), 200, "TASK_COMPLETED")
    key = str(uuid4())
    first = data_of(send(client, "complete", ids, key), 200, "TASK_COMPLETED")
    for task_id in ids:
        client.put(f"/tasks/{task_id}", json={"title": "since"})
    client.delete(f"/tasks/{ids[1]}")
    client.delete(f"/tasks/{ids[2]}")
    answer = send(client, "complete", ids, key)
    assert answer.headers["Idempotency-Replayed"] == "true"
    again = data_of(answer, 200, "TASK_COMPLETED")
    assert again == [data_of(client.get(f"/tasks/{ids[0]}")), None, *first[2:]]
    assert again[0]["title"] == "since"


@pytest.mark.parametrize("form", ["create", *POPUPS])
def test_a_key_of_another_request_is_422(
    client: httpx.Client, ids: list[str], written: Callable[[], Any], form: str
) -> None:
    if form == "incomplete":
        send(client, "complete", ids)
    elements = [{"title": "New"}] * 2 if form == "create" else elements_of(form, ids[:2])
    key = str(uuid4())
    first = send(client, form, elements, key)
    assert first.is_success
    others: list[tuple[str, list[Any]]] = [(form, elements[:1])]
    if form == "create":
        others += [(form, [*elements, {"title": "New"}]), (form, [{"title": "New", "description": "x"}] * 2)]
    else:
        others += [(form, elements[::-1]), (form, elements_of(form, ids[:2], {ids[0]: 1}))]
        others += [(form, elements_of(form, ids[2:]))]
    others += [(other, elements_of(other, ids[:2])) for other in POPUPS if other != form]
    before = written()
    for other, body in others:
        assert "Idempotency-Key" in error_of(send(client, other, body, key), 422)
    headers = {"Idempotency-Key": key}
    assert "Idempotency-Key" in error_of(client.post("/tasks", json={"title": "New"}, headers=headers), 422)
    assert "Idempotency-Key" in error_of(client.delete(f"/tasks/{ids[3]}", headers=headers), 422)
    assert written() == before
    assert_replayed(send(client, form, elements, key), first)


def test_the_same_values_are_the_same_body(client: httpx.Client, ids: list[str]) -> None:
    key = str(uuid4())
    first = send(client, "complete", [ids[0], {"id": ids[1]}], key)
    assert_replayed(send(client, "complete", [{"id": ids[0].upper()}, ids[1]], key), first)
    key = str(uuid4())
    first = client.post(
        PATH,
        content=f'{{"update": [{{"id": "{ids[0]}", "title": "a", "version": 2}}]}}',
        headers={**raw.JSON, "Idempotency-Key": key},
    )
    assert_replayed(send(client, "update", [{"version": 2.0, "title": "a", "id": ids[0]}], key), first)


def test_a_write_that_changed_nothing_leaves_its_key_free(client: httpx.Client, ids: list[str]) -> None:
    key = str(uuid4())
    for _ in range(2):
        answer = send(client, "incomplete", ids, key)
        assert [task["id"] for task in data_of(answer, 200, "TASK_INCOMPLETE")] == ids
        assert "Idempotency-Replayed" not in answer.headers
    data_of(send(client, "delete", ids, key), 200, "TASK_DELETED")


# Many at once


def test_overlapping_writes_and_single_ones_all_get_through(start_shared: Callable[..., Service]) -> None:
    """In opposite orders, with versions and without: no deadlock, no 503, and no update is lost."""
    service = start_shared()
    with Client(service.port) as client:
        new = {"create": [{"title": "0"} for _ in range(8)]}
        ids = [task["id"] for task in client.request("POST", PATH, new).data]

    def work(number: int) -> int:
        """Add one to every title at a time, at the versions that were read; return how often that was done."""
        done = 0
        mine = ids[:6] if number % 2 else ids[:1:-1]
        with Client(service.port) as client:
            while done < 4:
                found = [client.request("GET", f"/tasks/{task_id}") for task_id in mine]
                changes = [
                    {
                        "id": each.data["id"],
                        "version": int(each.headers["ETag"].strip('"')),
                        "title": str(int(each.data["title"]) + 1),
                    }
                    for each in found
                ]
                if number < 4:
                    answer = client.request("POST", PATH, {"update": changes})
                    size = len(mine)
                else:
                    answer = client.request("POST", PATH, {"update": changes[number % 3 : number % 3 + 1]})
                    size = 1
                assert answer.status in (200, 412), answer.body
                if answer.status == 200:
                    done += size
                    toggle = ("complete", "incomplete")[number % 2]
                    assert client.request("POST", PATH, {toggle: ids[:: 1 if number % 2 else -1]}).status == 200
        return done

    with ThreadPoolExecutor(8) as threads:
        added = sum(threads.map(work, range(8)))
    with Sql(service.database_url) as sql:
        titles = sql.rows("SELECT title FROM tasks WHERE id = ANY (%s::uuid[])", (ids,))
        assert sum(int(title) for (title,) in titles) == added
        assert_replay_equals_tasks(sql)
    assert "Traceback" not in service.log
