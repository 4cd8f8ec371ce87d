"""Safe retries: the same request with the same Idempotency-Key writes once, and is answered as it was."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from taskapi.schemas.fields import LONGEST_KEY
from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.load import Client, at_once
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.waiting import wait_until

Create = Callable[..., dict[str, Any]]

WRITES: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "create": ("POST", "/tasks", {"title": "Buy milk", "description": "Two litres"}),
    "update": ("PUT", "/tasks/{id}", {"title": "Buy oat milk"}),
    "complete": ("PATCH", "/tasks/{id}/complete", None),
    "incomplete": ("PATCH", "/tasks/{id}/incomplete", None),
    "delete": ("DELETE", "/tasks/{id}", None),
}
"""Every request that writes: its method, its path and its body."""


class Request:
    """A write that changes something, with a key of its own."""

    def __init__(self, client: httpx.Client, name: str, task_id: str) -> None:
        self.client = client
        self.key = f"{name} {uuid4()}"
        self.method, path, self.body = WRITES[name]
        self.path = path.format(id=task_id)

    def send(self, **changes: Any) -> httpx.Response:
        """Send it, or something like it."""
        wanted = {"method": self.method, "path": self.path, "body": self.body, "key": self.key, **changes}
        body = {"json": wanted["body"]} if wanted["body"] is not None else {}
        headers = {"Idempotency-Key": wanted["key"]}
        return self.client.request(wanted["method"], wanted["path"], headers=headers, **body)


@pytest.fixture(params=WRITES)
def write(request: pytest.FixtureRequest, client: httpx.Client, create: Create) -> Request:
    """Each write, on a task that it changes."""
    task_id = create()["id"]
    if request.param == "incomplete":
        data_of(client.patch(f"/tasks/{task_id}/complete"), 200, "TASK_COMPLETED")
    return Request(client, request.param, task_id)


def assert_replayed(answer: httpx.Response, first: httpx.Response) -> None:
    """The same status, popup and data as the first time, and a header that says so."""
    assert first.is_success
    assert "Idempotency-Replayed" not in first.headers
    assert answer.status_code == first.status_code
    assert envelope_of(answer) == envelope_of(first)
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.headers.get("Location") == first.headers.get("Location")


def test_the_same_again_writes_nothing(write: Request, written: Callable[[], Any], service_sql: Sql) -> None:
    first = write.send()
    before = written()
    for _ in range(3):
        assert_replayed(write.send(), first)
    assert written() == before
    assert service_sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = %s", (write.key,)) == 1


def test_the_answer_is_the_first_one_when_the_task_has_changed_since(write: Request, client: httpx.Client) -> None:
    first = write.send()
    data = envelope_of(first)["data"]
    if data is not None:
        path = f"/tasks/{data['id']}"
        for answer in (
            client.put(path, json={"title": "Something else", "description": None}),
            client.patch(f"{path}/complete"),
            client.patch(f"{path}/incomplete"),
        ):
            assert answer.status_code == 200
        now = data_of(client.get(path))
        assert_replayed(write.send(), first)
        assert data_of(client.get(path)) == now
        data_of(client.delete(path), 200, "TASK_DELETED")
    assert_replayed(write.send(), first)


def test_a_key_of_another_request_is_422(write: Request, create: Create, written: Callable[[], Any]) -> None:
    first = write.send()
    others = [
        {"method": method, "path": path.format(id=task_id), "body": body}
        for task_id in (create()["id"], write.path.split("/")[2] if write.path != "/tasks" else create()["id"])
        for method, path, body in WRITES.values()
        if (method, path.format(id=task_id)) != (write.method, write.path)
    ]
    if write.body is not None:
        others += [{"body": {"title": "Another"}}, {"body": {**write.body, "description": "Another"}}]
    before = written()
    for other in others:
        assert "Idempotency-Key" in error_of(write.send(**other), 422)
    assert written() == before
    assert_replayed(write.send(), first)


def test_the_same_values_are_the_same_body(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid4()), "Content-Type": "application/json"}
    first = client.post("/tasks", content=b'{"title":"Buy milk","description":null}', headers=headers)
    for body in (b'{"title": "Buy milk"}', b'{ "description" : null, "title" : "Buy\\u0020milk" }\n'):
        assert_replayed(client.post("/tasks", content=body, headers=headers), first)


def test_a_body_that_is_ignored_does_not_count(client: httpx.Client, create: Create) -> None:
    path, headers = f"/tasks/{create()['id']}/complete", {"Idempotency-Key": str(uuid4())}
    first = client.patch(path, headers=headers)
    assert_replayed(client.patch(path, json={"any": "thing"}, headers=headers), first)


def test_another_key_is_another_request(write: Request, written: Callable[[], Any]) -> None:
    first = write.send()
    again = write.send(key=f"{write.key} 2")
    assert "Idempotency-Replayed" not in again.headers
    if write.path == "/tasks":
        assert data_of(again, 201, "TASK_CREATED")["id"] != data_of(first, 201, "TASK_CREATED")["id"]


def test_without_a_key_every_request_writes(client: httpx.Client, create: Create) -> None:
    assert create("The same")["id"] != create("The same")["id"]


@pytest.mark.parametrize("key", ["k", "k" * LONGEST_KEY, "with spaces", "~!@#$%^&*()_+{}|:\"<>?[]\\;',./`"])
def test_any_printable_ascii_is_a_key(client: httpx.Client, key: str) -> None:
    request = Request(client, "create", "")
    first = request.send(key=key)
    assert_replayed(request.send(key=key), first)


@pytest.mark.parametrize("keys", [["a", "b"], ["a", "a"], ["a", ""], ["a"] * 3, ["a,b", "c"]], ids=str)
def test_two_keys_are_422(write: Request, written: Callable[[], Any], keys: list[str]) -> None:
    headers = [("Idempotency-Key", f"{write.key}{key}" if key else "") for key in keys]
    before = written()
    answer = write.client.request(write.method, write.path, headers=headers, json=write.body)
    assert error_of(answer, 422) == "Idempotency-Key: must be given once"
    assert written() == before


def test_one_key_may_hold_a_comma_and_other_headers_may_come_twice(client: httpx.Client) -> None:
    key = f"a,b {uuid4()}"
    others = [("Accept", "a/b"), ("Accept", "c/d"), ("X-Request-Id", "one"), ("X-Request-Id", "two")]
    for replayed in (None, "true"):
        answer = client.post("/tasks", json={"title": "x"}, headers=[("Idempotency-Key", key), *others])
        data_of(answer, 201, "TASK_CREATED")
        assert answer.headers.get("Idempotency-Replayed") == replayed
        # Two request ids are none: the service makes its own.
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_no_header_of_a_client_looks_like_two_keys(client: httpx.Client) -> None:
    for name in ("taskapi.several_keys", "TASKAPI.SEVERAL_KEYS", "taskapi.several-keys"):
        answer = client.post("/tasks", json={"title": "x"}, headers={"Idempotency-Key": str(uuid4()), name: ""})
        data_of(answer, 201, "TASK_CREATED")


def test_a_write_that_changed_nothing_leaves_its_key_free(
    client: httpx.Client, create: Create, written: Callable[[], Any]
) -> None:
    task = create("Same")
    path = f"/tasks/{task['id']}"
    headers = {"Idempotency-Key": str(uuid4())}
    before = written()
    for _ in range(2):
        answers = [
            client.patch(f"{path}/incomplete", headers=headers),
            client.put(path, json={"title": "Same"}, headers=headers),
        ]
        for answer, popup in zip(answers, ("TASK_INCOMPLETE", "TASK_UPDATED"), strict=True):
            assert data_of(answer, 200, popup) == task
            assert "Idempotency-Replayed" not in answer.headers
    assert written() == before
    completed = client.patch(f"{path}/complete", headers=headers)
    assert data_of(completed, 200, "TASK_COMPLETED")["is_completed"] is True
    assert_replayed(client.patch(f"{path}/complete", headers=headers), completed)


def test_a_refused_request_leaves_its_key_free(client: httpx.Client) -> None:
    request = Request(client, "create", "")
    error_of(request.send(body={"title": ""}), 422)
    error_of(request.send(method="DELETE", path=f"/tasks/{uuid4()}", body=None), 404)
    first = request.send()
    data_of(first, 201, "TASK_CREATED")
    assert_replayed(request.send(), first)


def test_a_read_has_no_use_for_a_key(client: httpx.Client, create: Create) -> None:
    path = f"/tasks/{create()['id']}"
    request = Request(client, "create", "")
    first = request.send()
    for target in (path, "/tasks", "/history"):
        answer = client.get(target, headers={"Idempotency-Key": request.key})
        assert answer.status_code == 200
        assert "Idempotency-Replayed" not in answer.headers
    assert_replayed(request.send(), first)


def test_fifty_at_once_write_once(write: Request, service: Service, service_sql: Sql) -> None:
    def send(client: Client, _: int) -> Any:
        return client.request(write.method, write.path, write.body, key=write.key)

    answers = at_once(service.port, 50, send)
    assert Counter(answer.status for answer in answers) == {201 if write.path == "/tasks" else 200: 50}
    assert len({str(answer.envelope) for answer in answers}) == 1
    replayed = Counter(answer.headers["Idempotency-Replayed"] for answer in answers)
    assert replayed == {None: 1, "true": 49}
    assert service_sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = %s", (write.key,)) == 1


def test_different_requests_at_once_with_one_key_write_once(
    client: httpx.Client, service: Service, service_sql: Sql
) -> None:
    key = str(uuid4())
    answers = at_once(service.port, 20, lambda client, number: client.create(f"Task {number}", key=key))
    assert Counter(answer.status for answer in answers) == {201: 1, 422: 19}
    assert service_sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = %s", (key,)) == 1


def test_a_lost_answer_is_given_again(client: httpx.Client, service: Service, service_sql: Sql) -> None:
    request = Request(client, "create", "")
    body = b'{"title": "Buy milk", "description": "Two litres"}'
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(raw.sized("POST", "/api/v1/tasks", body, {**raw.JSON, "Idempotency-Key": request.key}))
    entry = "SELECT task_id::text FROM task_history WHERE idempotency_key = %s"
    wait_until(lambda: service_sql.rows(entry, (request.key,)), "the request whose connection ended was served")
    answer = request.send()
    assert data_of(answer, 201, "TASK_CREATED")["id"] == service_sql.value(entry, (request.key,))
    assert answer.headers["Idempotency-Replayed"] == "true"


def test_a_key_is_known_to_every_instance(client: httpx.Client, service: Service, start_service: Any) -> None:
    request = Request(client, "create", "")
    first = request.send()
    other = start_service(service.database_url)
    request.client = other.client(base_url=f"{other.url}/api/v1")
    assert_replayed(request.send(), first)


def test_writes_of_others_do_not_disturb_a_replay(client: httpx.Client, create: Create, service: Service) -> None:
    """While others change the task, every repetition gets the first answer."""
    task = create()
    request = Request(client, "complete", task["id"])
    first = request.send()
    ending = threading.Event()

    def disturb() -> None:
        other = Client(service.port)
        number = 0
        while not ending.is_set():
            number += 1
            assert other.request("PUT", f"/tasks/{task['id']}", {"title": f"Change {number}"}).status == 200
        other.close()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(30):
            assert_replayed(request.send(), first)
    finally:
        ending.set()
        thread.join()
