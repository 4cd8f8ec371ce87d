"""Undo and restore over HTTP: statuses and their order, bodies, headers, and what the texts tell."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support import raw
from tests.support.envelope import data_of, error_of, fields_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

Create = Callable[..., dict[str, Any]]
EntriesOf = Callable[[str], list[dict[str, Any]]]

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def undo(client: httpx.Client, task_id: str, version: int, **headers: str) -> httpx.Response:
    return client.post(f"/tasks/{task_id}/undo", json={"version": version}, headers=headers)


def restored(answer: httpx.Response) -> Any:
    return data_of(answer, 200, "TASK_RESTORED")


def test_an_undo_button(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    """It sends back the version that the answer to the change carries, also that of a deletion."""
    task = create("Buy")
    path = f"/tasks/{task['id']}"
    for method, action in (("PUT", ""), ("PATCH", "/complete"), ("DELETE", "")):
        change = client.request(method, path + action, json={"title": "Buy milk"} if method == "PUT" else None)
        version = int(change.headers["ETag"].strip('"'))
        answer = undo(client, task["id"], version)
        assert restored(answer) == {**task, "updated_at": answer.json()["data"]["updated_at"]}
        assert answer.headers["ETag"] == client.get(path).headers["ETag"] == f'"{version + 1}"'
        assert answer.headers["Content-Location"] == f"/api/v1{path}"
        assert data_of(client.get(path)) == answer.json()["data"]
    assert [(entry["action_type"], entry["description"]) for entry in entries_of(task["id"])] == [
        ("RESTORED", "undo: title: 'Buy'"),
        ("DELETED", "title: 'Buy'"),
        ("INCOMPLETED", "undo: 'Buy': is_completed: true -> false"),
        ("COMPLETED", "'Buy': is_completed: false -> true"),
        ("UPDATED", "undo: title: 'Buy milk' -> 'Buy'"),
        ("UPDATED", "title: 'Buy' -> 'Buy milk'"),
        ("CREATED", "title: 'Buy'"),
    ]


def test_undoing_a_creation_deletes_and_undoing_that_restores(client: httpx.Client, create: Create) -> None:
    task = create()
    answer = undo(client, task["id"], 1)
    assert restored(answer) is None
    assert answer.headers["ETag"] == '"2"'
    assert "Content-Location" not in answer.headers
    error_of(client.get(f"/tasks/{task['id']}"), 404)
    # The same again finds nothing to do, and answers with what is there: nothing, at the version of the deletion.
    again = undo(client, task["id"], 1)
    assert (again.content, again.headers["ETag"]) == (answer.content, '"2"')
    back = restored(undo(client, task["id"], 2))
    assert (back["id"], back["created_at"], back["title"]) == (task["id"], task["created_at"], task["title"])


def test_a_conflict_names_the_field_who_and_when(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    task_id = create("A", description="x")["id"]
    client.put(f"/tasks/{task_id}", json={"title": "B", "description": "y"})
    client.put(f"/tasks/{task_id}", json={"title": "C", "description": "z"})
    error = error_of(undo(client, task_id, 2), 409)
    assert re.fullmatch(
        rf"This cannot be undone: description of task {task_id} was changed in version 3 \({TIME}\);"
        rf" title of task {task_id} was changed in version 3 \({TIME}\)\. Nothing was written\.",
        error,
    )
    assert entries_of(task_id)[0]["timestamp"] in error
    assert error_of(client.post("/undo", json={"task_id": task_id, "version": 2}), 409) == error
    assert len(entries_of(task_id)) == 3


def test_many_conflicts_are_counted(client: httpx.Client, create: Create) -> None:
    run = str(uuid4())
    for _ in range(5):
        task_id = create("A")["id"]
        client.put(f"/tasks/{task_id}", json={"title": "B"}, headers={"Change-Set": run})
        client.put(f"/tasks/{task_id}", json={"title": "C"})
    error = error_of(client.post("/undo", json={"change_set": run}), 409)
    assert error.count("title of task") == 3
    assert "); and 2 more. Nothing was written." in error


def test_of_many_the_rest_is_done(client: httpx.Client, create: Create) -> None:
    run = {"Change-Set": str(uuid4())}
    mine, theirs = create("A")["id"], create("A")["id"]
    for task_id in (mine, theirs):
        client.put(f"/tasks/{task_id}", json={"title": "B", "description": "x"}, headers=run)
    client.put(f"/tasks/{theirs}", json={"title": "C"})
    body = {"change_set": run["Change-Set"], "skip_conflicts": True}
    preview = client.post("/undo", json={**body, "dry_run": True})
    assert data_of(client.get(f"/tasks/{mine}"))["title"] == "B"
    found = restored(client.post("/undo", json=body))
    assert len(found["changes"]) == len(data_of(preview)["changes"]) == 2
    assert found["conflicts"] == data_of(preview)["conflicts"]
    (conflict,) = found["conflicts"]
    assert {**conflict, "timestamp": None} == {
        "task_id": theirs, "field": "title", "version": 3, "actor": None, "timestamp": None,
    }  # fmt: skip
    for change in found["changes"]:
        task = data_of(client.get(f"/tasks/{change['task_id']}"))
        assert change["task"] == task
        assert (task["title"], task["description"]) == ("A" if change["task_id"] == mine else "C", None)
    assert restored(client.post("/undo", json=body))["changes"] == []


def test_what_a_request_wrote(client: httpx.Client, create: Create) -> None:
    task_id = create()["id"]
    changed = client.put(f"/tasks/{task_id}", json={"title": "B"})
    found = restored(client.post("/undo", json={"request_id": changed.headers["X-Request-Id"]}))
    assert [(change["task_id"], change["version"]) for change in found["changes"]] == [(task_id, 3)]


def test_what_nobody_known_wrote_since(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    entry = entries_of(create()["id"])[0]
    until = re.sub(r"\d\dZ$", "99Z", entry["timestamp"])
    for since in (entry["timestamp"], entry["timestamp"].replace("Z", "+00:00"), entry["timestamp"].lower()):
        body = {"actor": None, "since": since, "until": until, "dry_run": True}
        found = data_of(client.post("/undo", json=body))
        assert entry["task_id"] in [change["task_id"] for change in found["changes"]]
    body = {"actor": None, "since": entry["timestamp"], "until": entry["timestamp"]}
    error_of(client.post("/undo", json=body), 404)


def test_restore(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    task = create("A")
    path = f"/tasks/{task['id']}"
    client.put(path, json={"title": "B", "description": "x"})
    answer = client.post(f"{path}/restore", json={"version": 1})
    assert restored(answer) == {**task, "updated_at": answer.json()["data"]["updated_at"]}
    assert (answer.headers["ETag"], answer.headers["Content-Location"]) == ('"3"', f"/api/v1{path}")
    # It is there: without a version, nothing is written.
    bodies: list[dict[str, Any]] = [{"json": {}}, {}, {"content": b"", "headers": {"Content-Type": "text/plain"}}]
    for body in bodies:
        assert client.post(f"{path}/restore", **body).content == answer.content
    client.delete(path)
    assert restored(client.post(f"{path}/restore"))["title"] == "A"
    assert error_of(client.post(f"{path}/restore", json={"version": 4}), 422) == (
        "version: 4 is the task's deletion; choose one before it"
    )
    assert error_of(client.post(f"{path}/restore", json={"version": 9}), 404) == "The task has no version 9."
    assert [entry["action_type"] for entry in entries_of(task["id"])] == [
        "RESTORED", "DELETED", "UPDATED", "UPDATED", "CREATED",
    ]  # fmt: skip


@pytest.mark.parametrize("action", ["undo", "restore"])
def test_what_is_wrong_is_looked_for_in_order(client: httpx.Client, create: Create, action: str) -> None:
    """Bodies, the earlier answer of the key, the task, the version, the condition, and what there is to change."""
    task_id, key = create("A")["id"], str(uuid4())
    path = f"/tasks/{task_id}/{action}"
    client.put(f"/tasks/{task_id}", json={"title": "B"})
    wrong = {"If-Match": '"1"'}
    keyed = {**wrong, "Idempotency-Key": key}
    version = 2 if action == "undo" else 1
    error_of(client.post(path, content="x", headers=wrong), 415)
    error_of(client.post(path, content="x", headers={**wrong, **raw.JSON}), 400)
    assert fields_of(error_of(client.post(path, json={"version": 0}, headers=wrong), 422)) == {"version"}
    assert fields_of(error_of(client.post(f"{path}?x=1", json={"version": 9}, headers=wrong), 422)) == {"x"}
    error_of(client.post(f"/tasks/{NOBODY}/{action}", json={"version": version}, headers=wrong), 404)
    assert "no version 9" in error_of(client.post(path, json={"version": 9}, headers=wrong), 404)
    refused = client.post(path, json={"version": version}, headers=keyed)
    assert error_of(refused, 412).startswith("The task is at version 2, not 1: title: 'A' -> 'B' (")
    assert refused.headers["ETag"] == '"2"'
    first = client.post(path, json={"version": version}, headers={**keyed, "If-Match": 'W/"2"'})
    assert restored(first)["title"] == "A"
    assert error_of(client.post(path, json={"version": version}, headers=wrong), 412)
    assert restored(client.post(path, json={"version": version})) == restored(first)
    again = client.post(path, json={"version": version}, headers=keyed)
    assert (again.content, again.headers["ETag"]) == (first.content, '"3"')
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Content-Location" not in again.headers
    assert error_of(client.post(path, json={"version": 9}, headers=keyed), 422).startswith("Idempotency-Key: ")


def test_a_condition_comes_before_a_conflict(client: httpx.Client, create: Create) -> None:
    task_id = create("A")["id"]
    for title in "BC":
        client.put(f"/tasks/{task_id}", json={"title": title})
    error_of(undo(client, task_id, 2, **{"If-Match": '"2"'}), 412)
    error_of(undo(client, task_id, 2, **{"If-Match": '"3"'}), 409)


def test_a_replay_of_many(client: httpx.Client, create: Create) -> None:
    run, key = str(uuid4()), {"Idempotency-Key": str(uuid4())}
    for others in (False, True):
        task_id = create("A")["id"]
        client.put(f"/tasks/{task_id}", json={"title": "B"}, headers={"Change-Set": run})
        if others:
            client.put(f"/tasks/{task_id}", json={"title": "C"})
    body = {"change_set": run, "skip_conflicts": True}
    first, again = (client.post("/undo", json=body, headers=key) for _ in range(2))
    assert len(restored(first)["conflicts"]) == 1
    assert restored(again) == {**restored(first), "conflicts": []}
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    for other in ({"change_set": run}, {**body, "dry_run": True}, {"request_id": "x", "skip_conflicts": True}):
        assert error_of(client.post("/undo", json=other, headers=key), 422).startswith("Idempotency-Key: ")


WAYS = "body: must have exactly one of task_id with version, request_id, change_set, and actor with since (and until)"
SINCE = "2026-11-25T07:30:00Z"

REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": ({}, WAYS),
    "only a version": ({"version": 1}, WAYS),
    "only a task": ({"task_id": NOBODY}, WAYS),
    "two ways": ({"request_id": "x", "change_set": "x"}, WAYS),
    "a way and a half": ({"request_id": "x", "version": 1}, WAYS),
    "an actor of all times": ({"actor": "ann"}, WAYS),
    "an end without a start": ({"actor": "ann", "until": SINCE}, WAYS),
    "an end of a request": ({"request_id": "x", "until": SINCE}, WAYS),
    "only options": ({"dry_run": True}, WAYS),
    "an array": ([], "body: must be a JSON object"),
    "version 0": ({"task_id": NOBODY, "version": 0}, "version: must be a whole number from 1 to 2147483647"),
    "version 2^31": ({"task_id": NOBODY, "version": 2**31}, "version: must be a whole number from 1 to 2147483647"),
    "version 1.5": ({"task_id": NOBODY, "version": 1.5}, "version: must be a whole number from 1 to 2147483647"),
    "version true": ({"task_id": NOBODY, "version": True}, "version: must be a whole number from 1 to 2147483647"),
    "version null": ({"task_id": NOBODY, "version": None}, "version: must not be null"),
    "task 5": ({"task_id": 5, "version": 1}, "task_id: must be a UUID such as 3b241101-e2bb-4255-8caf-4136c566a962"),
    "task null": ({"task_id": None, "version": 1}, "task_id: must not be null"),
    "request null": ({"request_id": None}, "request_id: must not be null"),
    "U+0000": ({"change_set": "\0"}, "change_set: must not contain U+0000 or lone surrogates"),
    "a long one": ({"change_set": "x" * 101}, "change_set: must have at most 100 characters"),
    "no offset": (
        {"actor": "ann", "since": "2026-11-25T07:30:00"},
        "since: must be a time with its offset, such as 2026-11-25T07:30:11.000001Z (in a URL, + is %2B)",
    ),
    "no day": (
        {"actor": "ann", "since": SINCE, "until": "2026-02-30T00:00:00Z"},
        "until: must be a time with its offset, such as 2026-11-25T07:30:11.000001Z (in a URL, + is %2B)",
    ),
    "before all times": (
        {"actor": "ann", "since": "0001-01-01T00:00:00+23:59"},
        "since: must be a time with its offset, such as 2026-11-25T07:30:11.000001Z (in a URL, + is %2B)",
    ),
    "since null": ({"actor": "ann", "since": None}, "since: must not be null"),
    "dry_run 1": ({"request_id": "x", "dry_run": 1}, "dry_run: must be true or false"),
    "dry_run null": ({"request_id": "x", "dry_run": None}, "dry_run: must not be null"),
    "unknown": ({"request_id": "x", "owner": "x"}, "owner: is not known here"),
}


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(("body", "error"), REFUSED.values(), ids=REFUSED)
def test_a_body_that_breaks_a_rule(client: httpx.Client, body: Any, error: str) -> None:
    assert error_of(client.post("/undo", json=body), 422) == error


@pytest.mark.usefixtures("nothing_written")
def test_no_body_is_an_empty_object(client: httpx.Client) -> None:
    assert error_of(client.post("/undo"), 422) == WAYS
    assert error_of(client.post(f"/tasks/{NOBODY}/undo"), 422) == "version: is required"
    assert error_of(client.post(f"/tasks/{NOBODY}/restore"), 404) == "There is no such task."


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(
    "body",
    [
        {"request_id": "nobody's"},
        {"change_set": "nobody's"},
        {"actor": "nobody", "since": SINCE},
        {"actor": "nobody", "since": "0001-01-02T00:00:00+23:59", "until": "9999-12-30T23:59:59-23:59"},
        {"actor": None, "since": SINCE, "until": SINCE},
        {"task_id": NOBODY, "version": 2**31 - 1},
        {"task_id": NOBODY, "version": 7.0},
    ],
)
def test_nothing_chosen_is_404(client: httpx.Client, body: dict[str, Any]) -> None:
    for options in ({}, {"dry_run": True, "skip_conflicts": True}):
        expected = "There is no such task." if "task_id" in body else "There is no such change."
        assert error_of(client.post("/undo", json={**body, **options}), 404) == expected


def test_who_undoes_is_told(start_shared: Callable[..., Service]) -> None:
    service = start_shared(API_TOKENS="ann:one,agent-7:two")

    def caller(token: str, run: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}", "Change-Set": run}
        return service.client(base_url=f"{service.url}/api/v1", headers=headers)

    with caller("two", "run 1") as agent, caller("one", "mended") as ann:
        task_id = data_of(agent.post("/tasks", json={"title": "A"}), 201, "TASK_CREATED")["id"]
        agent.put(f"/tasks/{task_id}", json={"title": "B"})
        ann.put(f"/tasks/{task_id}", json={"title": "C"})
        assert re.search(rf"was changed in version 3 \(ann, {TIME}\)", error_of(undo(agent, task_id, 2), 409))
        body = {"actor": "ann", "since": "2026-01-01T00:00:00Z"}
        (change,) = restored(agent.post("/undo", json=body))["changes"]
        assert change["task"]["title"] == "B"
        newest = data_of(ann.get("/history", params={"task_id": task_id, "limit": 1}))["items"][0]
        assert (newest["actor"], newest["change_set"]) == ("agent-7", "run 1")
        # All that the agent did, its undo included, but for what ann did to the task.
        found = restored(ann.post("/undo", json={"change_set": "run 1", "skip_conflicts": True}))
        assert [(left["field"], left["actor"]) for left in found["conflicts"]] == [("task", "ann")]
