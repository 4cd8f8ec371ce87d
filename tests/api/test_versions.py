"""Versions of tasks: their tags, conditional writes and reads, and what a 412 tells."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.envelope import data_of, error_of
from tests.support.service import Service

Create = Callable[..., dict[str, Any]]
EntriesOf = Callable[[str], list[dict[str, Any]]]

WRITERS, EDITS = 16, 12


def tag_of(answer: httpx.Response) -> str:
    assert answer.is_success, answer.text
    return answer.headers["ETag"]


def test_each_change_has_the_next_version(client: httpx.Client, entries_of: EntriesOf) -> None:
    created = client.post("/tasks", json={"title": "Buy"})
    path = created.headers["Location"].removeprefix("/api/v1")
    assert tag_of(created) == tag_of(client.get(path)) == '"1"'
    assert tag_of(client.put(path, json={"title": "Buy milk"})) == '"2"'
    assert tag_of(client.put(path, json={"title": "Buy milk"})) == '"2"'
    assert tag_of(client.patch(f"{path}/complete")) == '"3"'
    assert tag_of(client.patch(f"{path}/complete")) == '"3"'
    assert tag_of(client.patch(f"{path}/incomplete")) == tag_of(client.get(path)) == '"4"'
    assert tag_of(client.delete(path)) == '"5"'
    assert [entry["version"] for entry in entries_of(path.removeprefix("/tasks/"))] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("method", "action", "body"),
    [("PUT", "", {"title": "New"}), ("PATCH", "/complete", None), ("DELETE", "", None)],
)
def test_a_replay_has_the_version_of_the_first_answer(
    client: httpx.Client, create: Create, method: str, action: str, body: Any
) -> None:
    path = f"/tasks/{create()['id']}"
    headers = {"Idempotency-Key": path, "If-Match": '"1"'}
    first = client.request(method, path + action, json=body, headers=headers)
    if method != "DELETE":
        client.put(path, json={"title": "Newer"})
    # The key's answer comes before the condition, which no longer holds.
    again = client.request(method, path + action, json=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (tag_of(again), again.content) == (tag_of(first), first.content) == ('"2"', first.content)


def test_the_answer_shows_the_task_as_it_is_now(client: httpx.Client, create: Create) -> None:
    """`Content-Location` says that the answer is the task at that path (RFC 9110, section 8.7)."""
    path = f"/api/v1/tasks/{create()['id']}"
    created = client.post("/tasks", json={"title": "Buy"}, headers={"Idempotency-Key": path})
    assert created.headers["Content-Location"] == created.headers["Location"]
    again = client.post("/tasks", json={"title": "Buy"}, headers={"Idempotency-Key": path})
    assert again.headers["Location"] == created.headers["Location"]
    assert "Content-Location" not in again.headers
    for answer in (client.put(path[7:], json={"title": "x"}), client.patch(f"{path[7:]}/complete")):
        assert answer.headers["Content-Location"] == path
    assert "Content-Location" not in client.delete(path[7:]).headers


@pytest.mark.parametrize("tags", ['"2"', 'W/"2"', '"1", "2"', "*"])
def test_a_client_with_the_version_gets_no_body(client: httpx.Client, create: Create, tags: str) -> None:
    path = f"/tasks/{create()['id']}"
    changed = client.put(path, json={"title": "Buy oat milk"})
    for method in ("GET", "HEAD"):
        answer = client.request(method, path, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == changed.headers["ETag"]
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["Vary"] == "Authorization, Origin"
        assert "Content-Type" not in answer.headers
        assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("tags", ['"1"', '"3"', '""', '"02"', '"two"'])
def test_a_client_with_another_version_gets_the_task(client: httpx.Client, create: Create, tags: str) -> None:
    path = f"/tasks/{create()['id']}"
    client.put(path, json={"title": "Buy oat milk"})
    answer = client.get(path, headers={"If-None-Match": tags})
    assert data_of(answer)["title"] == "Buy oat milk"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Vary"] == "Authorization, Origin"


def test_a_page_of_another_origin_may_read_a_304(client: httpx.Client, create: Create) -> None:
    headers = {"Origin": "http://localhost:3000", "If-None-Match": "*"}
    answer = client.get(f"/tasks/{create()['id']}", headers=headers)
    assert answer.status_code == 304
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Vary"] == "Authorization, Origin"


# What a 412 tells


def test_a_mismatch_tells_what_changed_since(client: httpx.Client, create: Create, entries_of: EntriesOf) -> None:
    task = create("Buy")
    path = f"/tasks/{task['id']}"

    def refused(tags: str) -> str:
        return error_of(client.patch(f"{path}/complete", headers={"If-Match": tags}), 412)

    for title in ("Buy milk", "Buy oat milk", "Buy tea", "Buy coffee"):
        client.put(path, json={"title": title})
    at = {entry["version"]: entry["timestamp"] for entry in entries_of(task["id"])}
    latest = f"title: 'Buy tea' -> 'Buy coffee' ({at[5]})"
    before = f"title: 'Buy oat milk' -> 'Buy tea' ({at[4]})"
    third = f"title: 'Buy milk' -> 'Buy oat milk' ({at[3]})"
    assert refused('"4"') == f"The task is at version 5, not 4: {latest}."
    assert refused('"1", "3"') == f"The task is at version 5, not 1 or 3: {latest}; {before}."
    assert refused('"1"') == f"The task is at version 5, not 1: {latest}; {before}; {third}; and 1 more."
    assert refused('"7"') == "The task is at version 5, not 7."
    assert refused('"x"') == 'The task is at version 5, not "x".'
    assert refused('"99999999999999999999"') == 'The task is at version 5, not "99999999999999999999".'


def test_a_mismatch_comes_before_what_changes_nothing(client: httpx.Client, create: Create) -> None:
    """Two who have read the same version and write the same do not both succeed."""
    path = f"/tasks/{create('Buy')['id']}"
    assert client.put(path, json={"title": "Buy milk"}, headers={"If-Match": '"1"'}).is_success
    error_of(client.put(path, json={"title": "Buy milk"}, headers={"If-Match": '"1"'}), 412)
    assert tag_of(client.put(path, json={"title": "Buy milk"}, headers={"If-Match": '"2"'})) == '"2"'


def test_no_update_is_lost(service: Service, client: httpx.Client, create: Create) -> None:
    """Many read, change and write one task at once: each change stands on the one before, and each 412 is complete."""
    path = f"/tasks/{create('0')['id']}"
    refusals = []

    def edit(_: int) -> None:
        with service.client(base_url=f"{service.url}/api/v1") as mine:
            for _ in range(EDITS):
                while True:
                    read = mine.get(path)
                    title = str(int(data_of(read)["title"]) + 1)
                    answer = mine.put(path, json={"title": title}, headers={"If-Match": read.headers["ETag"]})
                    if answer.is_success:
                        break
                    refusals.append((int(read.headers["ETag"][1:-1]), error_of(answer, 412)))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(edit, range(WRITERS)))
    assert data_of(client.get(path))["title"] == str(WRITERS * EDITS)
    assert tag_of(client.get(path)) == f'"{WRITERS * EDITS + 1}"'
    assert refusals
    for version, text in refusals:
        found = re.match(rf"The task is at version (\d+), not {version}: (.*)\.$", text)
        assert found, text
        missed = int(found[1]) - version
        changes = re.findall(r"title: '(\d+)' -> '(\d+)'", found[2])
        assert changes == [(str(n - 2), str(n - 1)) for n in range(int(found[1]), 0, -1)][: min(missed, 3)], text
        assert found[2].endswith(f"and {missed - 3} more") == (missed > 3)
