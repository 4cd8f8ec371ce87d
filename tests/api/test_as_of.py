"""Time travel over HTTP: a task, the list and versions, as they were."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.envelope import data_of, error_of
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import NOBODY

Create = Callable[..., dict[str, Any]]
EntriesOf = Callable[[str], list[dict[str, Any]]]

MICROSECOND = timedelta(microseconds=1)


def fields_of(error: str) -> set[str]:
    """The parameters that an error names."""
    return set(re.findall(r"(?:^|; )(\w+): ", error))


def written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.fixture
def told(client: httpx.Client, create: Create, entries_of: EntriesOf) -> tuple[str, list[Any], list[str]]:
    """The path of a task that was changed and deleted; what was answered each time, and when that was."""
    tasks: list[Any] = [create("Buy")]
    path = f"/tasks/{tasks[0]['id']}"
    tasks.append(data_of(client.put(path, json={"title": "Buy milk"}), popup="TASK_UPDATED"))
    tasks.append(data_of(client.patch(f"{path}/complete"), popup="TASK_COMPLETED"))
    tasks.append(data_of(client.delete(path), popup="TASK_DELETED"))
    return path, tasks, [entry["timestamp"] for entry in reversed(entries_of(tasks[0]["id"]))]


def test_a_task_is_what_it_was(client: httpx.Client, told: tuple[str, list[Any], list[str]]) -> None:
    path, tasks, times = told
    for version in (1, 2, 3):
        before_the_next = written(datetime.fromisoformat(times[version]) - MICROSECOND)
        elsewhere = datetime.fromisoformat(times[version - 1]) + timedelta(hours=5, minutes=45)
        for as_of in (times[version - 1], before_the_next, elsewhere.isoformat().replace("+00:00", "+05:45")):
            answer = client.get(path, params={"as_of": as_of})
            assert data_of(answer) == tasks[version - 1]
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (f'"{version}"', "no-store")
    for as_of in (written(datetime.fromisoformat(times[0]) - MICROSECOND), times[3], "0001-01-01T00:00:00Z"):
        error_of(client.get(path, params={"as_of": as_of}), 404)
    error_of(client.get(f"/tasks/{NOBODY}", params={"as_of": times[0]}), 404)


def test_who_has_the_version_of_then_gets_304(client: httpx.Client, told: tuple[str, list[Any], list[str]]) -> None:
    path, _, times = told
    answer = client.get(path, params={"as_of": times[1]}, headers={"If-None-Match": 'W/"2"'})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"2"')
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(path, params={"as_of": times[1]}, headers={"If-None-Match": '"3"'}).status_code == 200


PATHS = ["/tasks/{id}?", "/tasks?limit=5&", "/stats/weekly?"]


@pytest.mark.parametrize("path", PATHS)
def test_the_clock_of_the_database_says_what_is_to_come(
    client: httpx.Client, create: Create, service_sql: Sql, path: str
) -> None:
    path = path.format(id=create()["id"])
    now = service_sql.value("SELECT clock_timestamp()")
    for seconds, status in ((0, 200), (50, 200), (70, 422), (10**9, 422)):
        answer = client.get(f"{path}as_of={written(now + timedelta(seconds=seconds))}")
        assert answer.status_code == status, answer.text
    assert error_of(answer, 422) == "as_of: must not be more than 60 seconds ahead of the database's clock"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "as_of",
    ["", "now", "2026-11-25", "2026-11-25T07:30:11", "2026-02-30T00:00:00Z",
     "2026-11-25T07:30:11%2B24:00", "0001-01-01T00:00:00%2B01:00",
     "infinity", "0000-01-01T00:00:00Z", "1764055811"],
)  # fmt: skip
def test_what_is_no_moment(client: httpx.Client, path: str, as_of: str) -> None:
    error = error_of(client.get(f"{path.format(id=NOBODY)}as_of={as_of}"), 422)
    assert fields_of(error) == {"as_of"}


def pages(client: httpx.Client, query: dict[str, Any]) -> Iterator[httpx.Response]:
    """The pages of a list, by their links."""
    answer = client.get("/tasks", params=query)
    yield answer
    while "next" in answer.links:
        answer = client.get(answer.links["next"]["url"].removeprefix("/api/v1"))
        yield answer


def test_the_list_is_what_it_was(client: httpx.Client, create: Create, service_sql: Sql) -> None:
    tasks = [create(f"of then {number}") for number in range(9)]
    for task in tasks[:4]:
        client.patch(f"/tasks/{task['id']}/complete")
    before = data_of(client.get("/tasks"))
    moment = service_sql.value("SELECT clock_timestamp()")
    create("later")
    for task in tasks[2:6]:
        client.put(f"/tasks/{task['id']}", json={"title": "changed"})
    client.patch(f"/tasks/{tasks[0]['id']}/incomplete")
    client.delete(f"/tasks/{tasks[1]['id']}")
    client.delete(f"/tasks/{tasks[8]['id']}")
    for state, limit in ((None, 1000), (None, 7), (True, 1000), (False, 11)):
        filters = {} if state is None else {"is_completed": str(state).lower()}
        found = list[dict[str, Any]]()
        for answer in pages(client, {"as_of": written(moment), "limit": limit, **filters}):
            found += data_of(answer)
            assert not {"ETag", "X-Total-Count"} & set(answer.headers)
            assert answer.headers["Cache-Control"] == "no-store"
            assert "monitor" not in answer.links
        assert found == [task for task in before if state in (None, task["is_completed"])]
    assert data_of(client.get("/tasks?as_of=2001-01-01T00:00:00Z&limit=1")) == []


def test_a_tag_is_no_condition_for_it(client: httpx.Client, create: Create) -> None:
    create()
    url = f"/tasks?as_of={written(datetime.now(UTC))}&limit=1"
    assert client.get(url, headers={"If-None-Match": "*"}).status_code == 200
    assert client.get(url, headers={"If-None-Match": client.get("/tasks").headers["ETag"]}).status_code == 200


THEN = "as_of=2026-11-25T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (THEN, {"limit"}),
        (f"{THEN}&is_completed=true", {"limit"}),
        (f"{THEN}&limit=0", {"limit"}),
        (f"{THEN}&limit=1001", {"limit"}),
        (f"{THEN}&limit=5&text=x", {"text"}),
        (f"{THEN}&limit=5&count=true&created_from=2026-11-25T00:00:00Z", {"count", "created_from"}),
        (f"{THEN}&limit=5&is_completed=1", {"is_completed"}),
        (f"{THEN}&limit=5&page=2", {"page"}),
        (f"{THEN}&limit=5&cursor=x", {"cursor"}),
    ],
)
def test_what_a_list_of_then_does_not_take(client: httpx.Client, query: str, fields: set[str]) -> None:
    assert fields_of(error_of(client.get(f"/tasks?{query}"), 422)) == fields


def test_a_cursor_is_of_its_moment(client: httpx.Client, create: Create) -> None:
    now = datetime.fromisoformat([create() for _ in range(3)][-1]["created_at"])
    link = client.get("/tasks", params={"as_of": written(now), "limit": 1}).links["next"]["url"].removeprefix("/api/v1")
    cursor = httpx.URL(link).params["cursor"]
    others: list[dict[str, Any]] = [{"as_of": written(now - MICROSECOND), "limit": 1}, {"limit": 1}]
    for other in others:
        assert fields_of(error_of(client.get("/tasks", params={**other, "cursor": cursor}), 422)) == {"cursor"}
    for limit in (1, 2):
        assert (
            len(data_of(client.get("/tasks", params={"as_of": written(now), "limit": limit, "cursor": cursor})))
            == limit
        )


SHARED = ("version", "history_id", "action_type", "timestamp", "actor", "request_id", "change_set")
"""What a version has from its entry."""


def test_versions_tell_what_changed(
    client: httpx.Client, told: tuple[str, list[Any], list[str]], entries_of: EntriesOf
) -> None:
    path, tasks, times = told
    data = data_of(client.get(f"{path}/versions"))
    assert data["has_more"] is False
    assert [version["changes"] for version in data["items"]] == [
        {"title": [None, "Buy"], "is_completed": [None, False]},
        {"title": ["Buy", "Buy milk"]},
        {"is_completed": [False, True], "completed_at": [None, times[2]]},
        {},
    ]
    assert [version["task"] for version in data["items"]] == [*tasks[:3], None]
    entries = entries_of(path.removeprefix("/tasks/"))
    for entry, version in zip(reversed(entries), data["items"], strict=True):
        assert {name: version[name] for name in SHARED} == {name: entry[name] for name in SHARED}


def test_versions_in_pages(client: httpx.Client, told: tuple[str, list[Any], list[str]]) -> None:
    path, _, _ = told
    whole = data_of(client.get(f"{path}/versions"))["items"]
    for limit in (1, 2, 3, 4, 100):
        for after in range(6):
            data = data_of(client.get(f"{path}/versions", params={"after": after, "limit": limit}))
            assert data == {"items": whole[after : after + limit], "has_more": after + limit < 4}
    for after in (10**9, 2**31, 10**30):
        assert data_of(client.get(f"{path}/versions", params={"after": after}))["items"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("after=-1", "after"), ("after=x", "after"), ("after=", "after"),
     ("as_of=2026-11-25T00:00:00Z", "as_of")],
)  # fmt: skip
def test_what_versions_do_not_take(client: httpx.Client, query: str, field: str) -> None:
    assert fields_of(error_of(client.get(f"/tasks/{NOBODY}/versions?{query}"), 422)) == {field}


def test_a_task_that_never_was_has_no_versions(client: httpx.Client, service: Service) -> None:
    error_of(client.get(f"/tasks/{NOBODY}/versions"), 404)
    error_of(client.get(f"/tasks/{NOBODY}/versions?after=5"), 404)
    error_of(client.get("/tasks/nonsense/versions"), 422)
