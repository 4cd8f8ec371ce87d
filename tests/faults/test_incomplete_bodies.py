"""A request whose body did not arrive whole is not executed, whatever its method (RFC 9112, section 8)."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.load import Client
from tests.support.service import Service
from tests.support.sql import Sql

BODY = b'{"title": "cut off"}'
TASKS = "/api/v1/tasks"

REQUESTS = [
    ("POST", TASKS),
    ("POST", f"{TASKS}/bulk"),
    ("PUT", f"{TASKS}/{{id}}"),
    ("DELETE", f"{TASKS}/{{id}}"),
    ("PATCH", f"{TASKS}/{{id}}/complete"),
    ("PATCH", f"{TASKS}/{{id}}/incomplete"),
    ("GET", f"{TASKS}/{{id}}"),
    ("GET", "/api/v1/health"),
]

CUT = {
    "shorter than its length": lambda method, path: raw.sized(method, path, BODY)[:-1],
    "without any of it": lambda method, path: raw.sized(method, path, BODY).removesuffix(BODY),
    "in a chunk": lambda method, path: raw.chunked(method, path, BODY)[:-12],
    "without its last chunk": lambda method, path: raw.chunked(method, path, BODY)[:-5],
    "in its last chunk": lambda method, path: raw.chunked(method, path, BODY)[:-2],
}


@pytest.fixture(scope="module")
def impatient(module_database_url: str, reach: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose requests must arrive within two seconds."""
    environment = {"DATABASE_URL": reach(module_database_url), "REQUEST_DEADLINE": "2", "MAX_BODY_BYTES": "100"}
    running = Service(environment, folder=tmp_path_factory.mktemp("impatient"), database_url=module_database_url)
    yield running
    running.kill()


@pytest.fixture
def task_id(impatient: Service) -> Iterator[str]:
    """A task, which is still as it was after the test; and no other one was made, and no defect was logged."""
    with Client(impatient.port) as client, Sql(impatient.database_url) as sql:
        created = client.create("as it was").data
        before = sql.rows("SELECT count(*), (SELECT count(*) FROM task_history) FROM tasks")
        yield created["id"]
        assert client.request("GET", f"/tasks/{created['id']}").data == created
        assert sql.rows("SELECT count(*), (SELECT count(*) FROM task_history) FROM tasks") == before
    assert "Traceback" not in impatient.log


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
@pytest.mark.parametrize(("method", "path"), REQUESTS, ids=[f"{method} {path}" for method, path in REQUESTS])
def test_one_that_was_cut_off_is_400(impatient: Service, task_id: str, method: str, path: str, cut: Any) -> None:
    error_of(raw.send(impatient.port, cut(method, path.format(id=task_id)), ends=True), 400)


@pytest.mark.parametrize(("method", "path"), REQUESTS, ids=[f"{method} {path}" for method, path in REQUESTS])
def test_one_beyond_the_limit_is_413(impatient: Service, task_id: str, method: str, path: str) -> None:
    for encode in (raw.sized, raw.chunked):
        error_of(raw.send(impatient.port, encode(method, path.format(id=task_id), b'"%s"' % (b"x" * 100))), 413)


def test_one_that_does_not_come_is_400(impatient: Service, task_id: str) -> None:
    for method, path in (("POST", TASKS), ("PATCH", f"{TASKS}/{task_id}/complete")):
        error = error_of(raw.send(impatient.port, raw.sized(method, path, BODY)[:-1]), 400)
        assert "in time" in error


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_coding_that_is_not_read_is_415(impatient: Service, task_id: str, method: str) -> None:
    path = TASKS if method == "POST" else f"{TASKS}/{task_id}"
    for coding in ("gzip", "GZIP", "br", "deflate", "identity, gzip", "x", "zstd"):
        # The coding is said before anything else about the body.
        for body in (BODY, b"\x1f\x8b\x08\x00"):
            sent = {**raw.JSON, "Content-Encoding": coding}
            answer = raw.send(impatient.port, raw.sized(method, path, body, sent))
            assert "Content-Encoding" in error_of(answer, 415)
            assert answer.headers["Accept-Encoding"] == "identity"
    cut = raw.sized(method, path, BODY, {**raw.JSON, "Content-Encoding": "gzip"})[:-1]
    error_of(raw.send(impatient.port, cut, ends=True), 415)


def test_no_coding_by_name_is_read(impatient: Service) -> None:
    for coding in ("identity", "Identity", ""):
        sent = raw.sized("POST", TASKS, BODY, {**raw.JSON, "Content-Encoding": coding})
        data_of(raw.send(impatient.port, sent), 201, "TASK_CREATED")


def test_a_complete_one_may_come_with_any_method(impatient: Service) -> None:
    """And in pieces; the connection goes on with the next request."""
    with Client(impatient.port) as client:
        created = client.create("a task").data
    path = f"{TASKS}/{created['id']}"
    for method, target in (("GET", path), ("PATCH", f"{path}/complete"), ("DELETE", path)):
        for encode in (raw.sized, raw.chunked):
            with socket.create_connection(("127.0.0.1", impatient.port), timeout=40) as connection:
                for piece in encode(method, target, b"ignored").partition(b"\r\n\r\n"):
                    connection.sendall(piece)
                answer = raw.answer(connection, method)
                if method != "DELETE":
                    assert answer.status_code == 200
                envelope_of(answer)
                connection.sendall(raw.request("GET", "/api/v1/health"))
                data_of(raw.answer(connection, "GET"))
