"""Who makes a change, in which request, and as part of which change set: each entry keeps it, whatever wrote it."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from taskapi.access import Tokens
from tests.support import raw
from tests.support.envelope import data_of, error_of
from tests.support.service import Service

EntriesOf = Callable[[str], list[dict[str, Any]]]

TOKENS = "react:secret-1,react:secret-2,agent-7:sec:ret,nameless,no name:secret-3,:secret-4"

CALLERS = {
    "secret-1": "react",
    "secret-2": "react",
    "sec:ret": "agent-7",
    "nameless": None,
    # What stands before the colon cannot be a name: all of it is the secret.
    "no name:secret-3": None,
    ":secret-4": None,
    # A token with a colon was a secret as a whole, once.
    "react:secret-1": "react",
}


@pytest.fixture(scope="module")
def named(start_shared: Callable[..., Service]) -> Iterator[Service]:
    """A service with named tokens."""
    service = start_shared(API_TOKENS=TOKENS)
    yield service
    assert "secret" not in service.log


def write_everything(client: httpx.Client, **headers: str) -> list[str]:
    """Make every kind of change; return the ids of the tasks."""
    answer = client.post("/tasks", json={"title": "Buy"}, headers=headers)
    path = answer.headers["Location"].removeprefix("/api/v1")
    client.put(path, json={"title": "Buy milk"}, headers=headers)
    client.patch(f"{path}/complete", headers=headers)
    client.patch(f"{path}/incomplete", headers=headers)
    client.delete(path, headers=headers)
    client.post(f"{path}/undo", json={"version": 5}, headers=headers)
    client.post(f"{path}/restore", json={"version": 1}, headers=headers)
    client.post("/undo", json={"task_id": path.removeprefix("/tasks/"), "version": 7}, headers=headers)

    def in_bulk(form: str, element: Any) -> Any:
        return client.post("/tasks/bulk", json={form: [element]}, headers=headers).json()["data"]

    task_id = in_bulk("create", {"title": "Buy"})[0]["id"]
    in_bulk("update", {"id": task_id, "title": "Buy milk"})
    for form in ("complete", "incomplete", "delete"):
        in_bulk(form, task_id)
    return [path.removeprefix("/tasks/"), task_id]


@pytest.mark.parametrize(("token", "name"), CALLERS.items())
def test_the_tokens_name_is_the_actor(named: Service, token: str, name: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}", "Change-Set": "run 1"}
    with named.client(base_url=f"{named.url}/api/v1", headers=headers) as client:
        # Only the first one is undone and restored, too.
        for task_id, count in zip(write_everything(client), (8, 5), strict=True):
            entries = data_of(client.get("/history", params={"task_id": task_id}))["items"]
            assert len(entries) == count
            assert {(entry["actor"], entry["change_set"]) for entry in entries} == {(name, "run 1")}


@pytest.mark.parametrize("token", ["react", "react:", "secret-3", "secret-4", "agent-7:secret-1", "ret"])
def test_a_name_is_no_secret(named: Service, token: str) -> None:
    with named.client(base_url=f"{named.url}/api/v1", headers={"Authorization": f"Bearer {token}"}) as client:
        error_of(client.get("/tasks"), 401)


def test_an_open_service_knows_nobody(client: httpx.Client, entries_of: EntriesOf) -> None:
    for header in ("X-Actor", "Actor", "X-User", "taskapi.actor"):
        for task_id in write_everything(client, **{header: "ann", "Authorization": "Bearer react:x"}):
            for entry in entries_of(task_id):
                assert (entry["actor"], entry["change_set"]) == (None, None)


def test_an_entry_has_its_requests_id(client: httpx.Client, entries_of: EntriesOf) -> None:
    answers = [client.post("/tasks", json={"title": "Buy"})]
    task_id = data_of(answers[0], 201, "TASK_CREATED")["id"]
    answers.append(client.put(f"/tasks/{task_id}", json={"title": "x"}, headers={"X-Request-Id": "mine.1"}))
    answers.append(client.patch(f"/tasks/{task_id}/complete", headers={"X-Request-Id": "not mine"}))
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert [entry["request_id"] for entry in entries_of(task_id)] == ids[::-1]
    assert ids[1] == "mine.1"
    assert ids[2] != "not mine"


def test_an_entry_has_the_title_of_its_time(client: httpx.Client, entries_of: EntriesOf) -> None:
    alone, in_bulk = write_everything(client)
    assert [entry["task_title"] for entry in entries_of(alone)] == ["Buy milk", "Buy", *["Buy milk"] * 5, "Buy"]
    assert [entry["task_title"] for entry in entries_of(in_bulk)] == ["Buy milk"] * 4 + ["Buy"]


@pytest.mark.parametrize("change_set", ["x", " a, b ".strip(), "x" * 100, "run #7 (nightly)"])
def test_a_change_set_is_kept_as_sent(client: httpx.Client, entries_of: EntriesOf, change_set: str) -> None:
    for task_id in write_everything(client, **{"Change-Set": change_set}):
        assert {entry["change_set"] for entry in entries_of(task_id)} == {change_set}


@pytest.mark.parametrize("change_set", ["", "x" * 101, "caf\xe9", "a\tb"])
def test_a_bad_change_set_is_422(
    service: Service, client: httpx.Client, nothing_written: None, change_set: str
) -> None:
    sent = raw.sized("POST", "/api/v1/tasks", b'{"title": "x"}', {**raw.JSON, "Change-Set": change_set})
    assert error_of(raw.send(service.port, sent), 422).startswith("Change-Set: ")


def test_two_change_sets_are_422(client: httpx.Client, nothing_written: None) -> None:
    answer = client.post("/tasks", json={"title": "x"}, headers=[("Change-Set", "a"), ("Change-Set", "b")])
    assert error_of(answer, 422) == "Change-Set: must be given once"


def test_a_change_set_does_not_count_for_a_key(client: httpx.Client, entries_of: EntriesOf) -> None:
    """The same request in another run is a repetition: headers do not count."""
    headers = {"Idempotency-Key": "who-1"}
    first = client.post("/tasks", json={"title": "x"}, headers={**headers, "Change-Set": "a"})
    again = client.post("/tasks", json={"title": "x"}, headers={**headers, "Change-Set": "b"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content
    assert [entry["change_set"] for entry in entries_of(data_of(first, 201, "TASK_CREATED")["id"])] == ["a"]


def test_names_of_tokens() -> None:
    tokens = Tokens(("a:b:c", "x.Y_-9:d"))
    assert [getattr(tokens.caller(f"Bearer {token}"), "name", "none") for token in ("b:c", "a:b:c", "d", "c", "b")] == [
        *("a", "a", "x.Y_-9"),
        *("none", "none"),
    ]
