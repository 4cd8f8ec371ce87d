"""GET /changes: pages, waits and streams, with a real client."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest

from taskapi.cursors import Cursor, position_cursor
from taskapi.web import examples
from tests.api.conftest import Create
from tests.support.envelope import data_of, envelope_of, error_of, fields_of
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.streams import POLLS
from tests.support.waiting import wait_until

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
def cursor(service_sql: Sql) -> str:
    """The cursor of now."""
    return position_cursor(service_sql.value("SELECT position_now('default')"))


class Event:
    """One event, as the HTML standard reads it."""

    def __init__(self, text: str) -> None:
        self.fields = dict(line.split(": ", 1) for line in text.splitlines())

    @property
    def item(self) -> dict[str, Any]:
        item: dict[str, Any] = orjson.loads(self.fields["data"])
        return item

    @property
    def id(self) -> str | None:
        return self.fields.get("id")


class Stream:
    """A stream that a client reads, event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._text = answer.iter_text()
        self._pending = ""

    def block(self) -> str:
        """The next event or comment."""
        while "\n\n" not in self._pending:
            self._pending += next(self._text)
        found, _, self._pending = self._pending.partition("\n\n")
        return found

    def event(self) -> Event:
        while "data: " not in (found := self.block()):
            pass
        return Event(found)

    def ends(self) -> bool:
        """Whether the stream ends, properly, without another event."""
        return "data: " not in self._pending + "".join(self._text)


@contextmanager
def streaming(client: httpx.Client, cursor: str | None = None, **headers: str) -> Iterator[Stream]:
    params = {"after": cursor} if cursor else {}
    with client.stream("GET", "/changes", params=params, headers={**EVENTS, **headers}) as answer:
        assert answer.status_code == 200, answer.read()
        stream = Stream(answer)
        assert stream.block() == "retry: 2000"
        yield stream


def changes_of(client: httpx.Client, **params: Any) -> Any:
    return data_of(client.get("/changes", params=params))


# Pages


def test_what_came_after_a_cursor(client: httpx.Client, create: Create, cursor: str) -> None:
    first = create("first")
    second = create("second")
    client.delete(f"/tasks/{first['id']}")
    page = changes_of(client, after=cursor)
    assert [(item["task_id"], item["task"]) for item in page["items"]] == [
        (first["id"], first),
        (second["id"], second),
        (first["id"], None),
    ]
    assert page["has_more"] is False
    assert changes_of(client, after=page["cursor"])["items"] == []
    one = changes_of(client, after=cursor, limit=1)
    assert (one["items"], one["has_more"]) == (page["items"][:1], True)
    assert changes_of(client, after=one["cursor"], limit=2)["items"] == page["items"][1:]


def test_without_a_cursor_from_the_first_entry_on(client: httpx.Client, create: Create, service_sql: Sql) -> None:
    create()
    first = service_sql.value("SELECT history_id::text FROM task_history ORDER BY timestamp, task_id LIMIT 1")
    assert changes_of(client, limit=1)["items"][0]["history_id"] == first


def test_the_answer_is_not_stored(client: httpx.Client, cursor: str) -> None:
    assert client.get("/changes", params={"after": cursor}).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"after": ""}, {"after"}),
        ({"after": "731:731:/"}, {"after"}),
        ({"after": examples.TASK_ID}, {"after"}),
        ({"after": "x" * 7000}, {"after"}),
        ({"limit": "0"}, {"limit"}),
        ({"limit": "1001"}, {"limit"}),
        ({"limit": "9" * 30, "wait": "9" * 30}, {"limit", "wait"}),
        ({"wait": "26"}, {"wait"}),
        ({"wait": "-1"}, {"wait"}),
        ({"wait": "0.5"}, {"wait"}),
        ({"page": "1"}, {"page"}),
    ],
)
def test_what_is_refused(client: httpx.Client, params: dict[str, str], fields: set[str]) -> None:
    for headers in ({}, EVENTS):
        assert fields_of(error_of(client.get("/changes", params=params, headers=headers), 422)) == fields


@pytest.mark.parametrize("headers", [{}, EVENTS], ids=["a page", "a stream"])
def test_a_cursor_of_another_database_is_410(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.get("/changes", params={"after": examples.CURSOR}, headers=headers)
    assert "read the list anew" in error_of(answer, 410)


def test_more_is_there_also_after_a_batch(client: httpx.Client, create: Create, cursor: str) -> None:
    old = [create(f"old {number}") for number in range(3)]
    page = changes_of(client, after=cursor, limit=2)
    assert page["has_more"]
    new = [create(f"new {number}") for number in range(2)]
    last = changes_of(client, after=page["cursor"], limit=2)
    assert last["has_more"]
    rest = changes_of(client, after=last["cursor"], limit=5)
    assert not rest["has_more"]
    assert [item["task"] for item in page["items"] + last["items"] + rest["items"]] == old + new


# Waits


def test_a_wait_ends_with_the_first_change(
    client: httpx.Client, service: Service, service_sql: Sql, create: Create, cursor: str
) -> None:
    answers: list[Any] = []
    with service.client(base_url=f"{service.url}/api/v1") as waiting:
        thread = threading.Thread(target=lambda: answers.append(changes_of(waiting, after=cursor, wait=25)))
        polls = service_sql.value(POLLS)
        thread.start()
        wait_until(lambda: service_sql.value(POLLS) > polls + 3, "the wait is under way")
        task = create()
        thread.join()
        assert [item["task"] for item in answers[0]["items"]] == [task]
        # From here on nothing need be read anew.
        assert changes_of(waiting, after=answers[0]["cursor"], wait=1)["items"] == []
    assert changes_of(client, after=cursor, wait=25)["items"] == answers[0]["items"]


def test_a_wait_for_nothing_ends_with_a_cursor(client: httpx.Client, cursor: str, create: Create) -> None:
    page = changes_of(client, after=cursor, wait=1)
    assert (page["items"], page["has_more"]) == ([], False)
    task = create()
    assert [item["task"] for item in changes_of(client, after=page["cursor"])["items"]] == [task]


def test_a_wait_has_no_more_than_its_limit(client: httpx.Client, create: Create, cursor: str) -> None:
    for _ in range(3):
        create()
    page = changes_of(client, after=cursor, wait=25, limit=2)
    assert (len(page["items"]), page["has_more"]) == (2, True)
    assert len(changes_of(client, after=page["cursor"], wait=25, limit=2)["items"]) == 1


def test_a_wait_leaves_time_for_its_answer(start_shared: Callable[..., Service]) -> None:
    """REQUEST_DEADLINE less five seconds, which is none."""
    service = start_shared(REQUEST_DEADLINE="4", WEB_CONCURRENCY="1")
    with service.client(base_url=f"{service.url}/api/v1", timeout=4) as client:
        assert changes_of(client, wait=25)["items"] == []


# Streams


def test_a_stream_has_each_change(client: httpx.Client, create: Create, cursor: str) -> None:
    before = create("before")
    with streaming(client, cursor) as stream:
        assert stream.answer.headers["Content-Type"] == "text/event-stream"
        assert stream.answer.headers["Cache-Control"] == "no-store"
        assert stream.answer.headers["X-Accel-Buffering"] == "no"
        assert stream.answer.headers["X-Request-Id"]
        assert stream.event().item["task"] == before
        with httpx.Client(base_url=client.base_url, trust_env=False) as other:
            after = data_of(other.post("/tasks", json={"title": "after"}), 201, "TASK_CREATED")
            event = stream.event()
            assert event.item["task"] == after
            (again,) = changes_of(other, after=cursor, limit=10)["items"][1:]
            assert event.item == again
            assert event.id
            assert changes_of(other, after=event.id)["items"] == []


def test_the_last_event_of_a_batch_has_the_cursor(client: httpx.Client, create: Create, cursor: str) -> None:
    tasks = [create() for _ in range(5)]
    with client.stream("GET", "/changes", params={"after": cursor, "limit": 3}, headers=EVENTS) as answer:
        stream = Stream(answer)
        events = [stream.event() for _ in tasks]
    assert [event.item["task"] for event in events] == tasks
    # How many a batch has depends on who else follows.
    assert events[-1].id
    for number, event in enumerate(events, start=1):
        if event.id:
            assert [item["task"] for item in changes_of(client, after=event.id)["items"]] == tasks[number:]


def test_a_client_that_comes_back_goes_on_after_its_last_event(
    client: httpx.Client, create: Create, cursor: str
) -> None:
    tasks = [create() for _ in range(4)]
    page = changes_of(client, after=cursor, limit=2)
    # Also where its address still has the cursor with which it began.
    with streaming(client, cursor, **{"Last-Event-ID": page["cursor"]}) as stream:
        assert [stream.event().item["task"] for _ in range(2)] == tasks[2:]


def test_a_wrong_last_event_is_422(client: httpx.Client) -> None:
    for wrong in (b"x", b"\xff", examples.TASK_ID.encode()):
        answer = client.get("/changes", headers=[(b"Accept", b"text/event-stream"), (b"Last-Event-ID", wrong)])
        assert fields_of(error_of(answer, 422)) == {"Last-Event-ID"}
        # A page has no events.
        data_of(client.get("/changes", headers=[(b"Last-Event-ID", wrong)]))


@pytest.mark.parametrize("wait", ["0", "5"])
def test_a_stream_takes_no_wait(client: httpx.Client, wait: str) -> None:
    answer = client.get("/changes", params={"wait": wait}, headers=EVENTS)
    assert fields_of(error_of(answer, 422)) == {"wait"}


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; q=0.9, application/json; q=0.1", True),
        ("text/event-stream, */*; q=0.1", True),
        ("*/*", False),
        ("text/*", False),
        ("application/json, text/event-stream", False),
        ("application/json, text/event-stream; q=0", False),
        ("nonsense;;,text/event-stream", True),
        ("text/event-stream-of-something-else", False),
    ],
)
def test_who_gets_a_stream(client: httpx.Client, cursor: str, accept: str, is_stream: bool) -> None:
    answer = client.head("/changes", params={"after": cursor}, headers={"Accept": accept})
    assert answer.headers["Content-Type"] == ("text/event-stream" if is_stream else "application/json")


def test_a_head_ends(client: httpx.Client, cursor: str) -> None:
    for params, headers in (({"wait": 25}, {}), ({}, EVENTS)):
        answer = client.head("/changes", params={"after": cursor, **params}, headers=headers, timeout=10)
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_page_of_another_origin_may_read_a_stream(client: httpx.Client, cursor: str) -> None:
    with streaming(client, cursor, Origin="http://localhost:3000") as stream:
        assert stream.answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


# Limits


def test_there_are_only_so_many(start_shared: Callable[..., Service]) -> None:
    """Streams and waits count alike; who leaves makes room."""
    service = start_shared(MAX_STREAMS="2", WEB_CONCURRENCY="1")
    with service.client(base_url=f"{service.url}/api/v1") as client, service.client() as writer:
        cursor = changes_of(client)["cursor"]
        with streaming(client, cursor) as first, streaming(client, cursor):
            for params, headers in (({"wait": 1}, {}), ({}, EVENTS)):
                refused = client.get("/changes", params={"after": cursor, **params}, headers=headers)
                assert "streams" in error_of(refused, 503)
                assert refused.headers["Retry-After"] == "5"
            assert changes_of(client, after=cursor)["items"] == []
            data_of(writer.post("/api/v1/tasks", json={"title": "x"}), 201, "TASK_CREATED")
            assert first.event().item["task"]["title"] == "x"

        def has_room() -> bool:
            # They are gone when the service cannot send them anything.
            data_of(writer.post("/api/v1/tasks", json={"title": "y"}), 201, "TASK_CREATED")
            return client.get("/changes", params={"after": cursor, "wait": 1}).status_code == 200

        wait_until(has_room, "who has left makes room")
        # Nor do HEADs and refused requests take a place for good.
        for _ in range(3):
            client.head("/changes", headers=EVENTS)
            error_of(client.get("/changes", params={"after": examples.CURSOR}, headers=EVENTS), 410)
            error_of(client.get("/changes", params={"after": examples.CURSOR, "wait": 1}), 410)
        assert envelope_of(client.get("/changes", params={"wait": 1}))["success"]
        assert "Traceback" not in service.log


def test_cursors_are_texts_that_urls_take_as_they_are(client: httpx.Client, cursor: str) -> None:
    page = changes_of(client, after=cursor)
    assert str(httpx.QueryParams({"after": page["cursor"]})) == f"after={page['cursor']}"
    assert str(Cursor.parse(page["cursor"])) == page["cursor"]
