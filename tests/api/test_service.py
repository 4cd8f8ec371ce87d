"""Health, readiness, and the answer of every route while the database cannot serve."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from taskapi import __version__
from taskapi.revision import head
from tests.api.test_envelope import body_of
from tests.support.envelope import data_of, error_of
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import NOBODY
from tests.support.waiting import wait_until

READS = [("GET", "/tasks"), ("GET", f"/tasks/{NOBODY}"), ("GET", "/history"), ("GET", "/stats/weekly")]
WRITES = [
    ("POST", "/tasks"),
    ("POST", "/tasks/bulk"),
    ("PUT", f"/tasks/{NOBODY}"),
    ("DELETE", f"/tasks/{NOBODY}"),
    ("PATCH", f"/tasks/{NOBODY}/complete"),
    ("PATCH", f"/tasks/{NOBODY}/incomplete"),
]


@pytest.fixture(scope="module")
def own(start_shared: Callable[..., Service]) -> Service:
    """A service whose database may fail: two connections in all, and little patience."""
    return start_shared(
        DB_CONNECTIONS="2", DB_POOL_TIMEOUT="0.3", DB_LOCK_TIMEOUT="0.3", DB_STATEMENT_TIMEOUT="1", REQUEST_DEADLINE="5"
    )


@pytest.fixture
def own_client(own: Service) -> Iterator[httpx.Client]:
    """A client of it. Afterwards the service is what it was, and has seen no defect."""
    with own.client(base_url=f"{own.url}/api/v1") as client:
        yield client
        wait_until(lambda: client.get("/health/ready").status_code == 200, "the service is ready again")
        data_of(client.post("/tasks", json={"title": "It works again"}), 201, "TASK_CREATED")
    assert "Traceback" not in own.log


@pytest.fixture
def own_sql(own: Service) -> Iterator[Sql]:
    with Sql(own.database_url) as sql:
        yield sql


def request(client: httpx.Client, method: str, path: str) -> httpx.Response:
    route = re.sub(r"^/tasks/[0-9a-f-]{36}", "/tasks/{id}", path)
    return client.request(method, path, **body_of(method, f"/api/v1{route}", NOBODY))


def assert_unavailable(answer: httpx.Response) -> str:
    """A 503 that says when to come again, and shows nothing of the inside. Returns its sentence."""
    error = error_of(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1
    for secret in ("psycopg2", "SELECT", "postgresql://", "connection to server", "test_"):
        assert secret not in error
    return error


@contextmanager
def database_gone(own: Service, sql: Sql) -> Iterator[None]:
    """While inside, the database takes no connections."""
    with Sql(own.database_url.replace(f"/{sql.database}?", "/taskapi?")) as outside:
        outside.execute(f"ALTER DATABASE {sql.database} ALLOW_CONNECTIONS false")
        outside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
            (sql.database, sql.connection.info.backend_pid),
        )
        try:
            yield
        finally:
            outside.execute(f"ALTER DATABASE {sql.database} ALLOW_CONNECTIONS true")


@contextmanager
def tables_locked(sql: Sql) -> Iterator[None]:
    """While inside, whoever reads or writes tasks waits."""
    with sql.transaction():
        sql.execute("LOCK TABLE tasks, task_history IN ACCESS EXCLUSIVE MODE")
        yield


def test_health(client: httpx.Client) -> None:
    assert data_of(client.get("/health")) == {"status": "healthy", "service": "taskapi", "version": __version__}


def test_ready(client: httpx.Client) -> None:
    assert data_of(client.get("/health/ready"))["status"] == "ready"


def test_health_never_touches_the_database(client: httpx.Client, service_sql: Sql, service: Service) -> None:
    statement = (
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_database ON dbid = pg_database.oid"
        " WHERE datname = current_database() AND query !~ 'pg_stat_statements'"
    )
    before = service_sql.value(statement)
    for _ in range(20):
        data_of(client.get("/health"))
    assert service_sql.value(statement) == before
    data_of(client.get("/health/ready"))
    assert service_sql.value(statement) > before


def test_without_the_database(own: Service, own_client: httpx.Client, own_sql: Sql) -> None:
    with database_gone(own, own_sql):
        for method, path in [*READS, *WRITES, ("GET", "/health/ready")]:
            assert "Nothing was written" in assert_unavailable(request(own_client, method, path))
        assert data_of(own_client.get("/health"))["status"] == "healthy"
        assert own_client.get(f"{own.url}/api/docs").status_code == 200
        # What is wrong with a request, it is told all the same.
        error_of(own_client.post("/tasks", json={"title": ""}), 422)
        error_of(own_client.get("/nothing"), 404)


def test_while_every_connection_is_busy(own_client: httpx.Client, own_sql: Sql) -> None:
    with tables_locked(own_sql), ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(request, own_client, *pair) for pair in [*READS, *WRITES] * 4]
        # Both connections wait for the lock: one in each worker.
        for _ in range(20):
            assert data_of(own_client.get("/health"))["status"] == "healthy"
        errors = [assert_unavailable(answer.result()) for answer in answers]
    assert all("Nothing was written" in error for error in errors)
    assert any("busy" in error for error in errors)
    assert own_sql.value("SELECT count(*) FROM tasks WHERE title = 'x'") == 0


def test_while_another_one_changes_the_task(own_client: httpx.Client, own_sql: Sql) -> None:
    task = data_of(own_client.post("/tasks", json={"title": "Held"}), 201, "TASK_CREATED")
    path = f"/tasks/{task['id']}"
    writes = [("PUT", path), ("PATCH", f"{path}/complete"), ("PATCH", f"{path}/incomplete"), ("DELETE", path)]
    with own_sql.transaction():
        own_sql.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task["id"],))
        for method, target in writes:
            assert "Nothing was written" in assert_unavailable(request(own_client, method, target))
        assert data_of(own_client.get(path)) == task
    assert data_of(own_client.get(path)) == task
    for method, target in writes:
        assert request(own_client, method, target).status_code == 200


def test_an_answer_that_is_lost_after_the_write_says_so(
    client: httpx.Client, service: Service, service_sql: Sql
) -> None:
    """The server ends the connection in the middle of the statement: the service cannot know how that ended."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    # Another connection looks: in a transaction, pg_stat_activity stands still.
    with Sql(service.database_url) as other, tables_locked(service_sql), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(request, client, "POST", "/tasks")
        wait_until(lambda: other.rows(end, (other.database,)), "the write waits for the lock")
        error = assert_unavailable(answer.result())
    assert "may have happened" in error
    assert "Nothing was written" not in error


@pytest.mark.parametrize("version", ["0000", "9999"])
def test_another_schema_is_not_ready(own_client: httpx.Client, own_sql: Sql, version: str) -> None:
    own_sql.execute("UPDATE taskapi_version SET version_num = %s", (version,))
    try:
        error = assert_unavailable(own_client.get("/health/ready"))
        assert version in error
        assert head() in error
    finally:
        own_sql.execute("UPDATE taskapi_version SET version_num = %s", (head(),))


def test_no_schema_is_not_ready(own_client: httpx.Client, own_sql: Sql) -> None:
    own_sql.execute("ALTER TABLE taskapi_version RENAME TO elsewhere")
    try:
        assert "schema" in assert_unavailable(own_client.get("/health/ready"))
    finally:
        own_sql.execute("ALTER TABLE elsewhere RENAME TO taskapi_version")


def test_a_table_that_is_missing_is_503(own_client: httpx.Client, own_sql: Sql) -> None:
    own_sql.execute("ALTER TABLE tasks RENAME TO elsewhere")
    try:
        for method, path in (READS[0], READS[1], *WRITES):
            assert "schema" in assert_unavailable(request(own_client, method, path))
        error = assert_unavailable(own_client.get("/health/ready"))
        assert "has no table tasks, " in error
        assert "restore it from a backup" in error
    finally:
        own_sql.execute("ALTER TABLE elsewhere RENAME TO tasks")


@pytest.mark.parametrize("host", ["localhost", "evil.example", "a b<script>"])
def test_the_root_leads_to_the_docs_whatever_the_host_header(service: Service, client: httpx.Client, host: str) -> None:
    answer = client.get(f"{service.url}/", headers={"Host": host}, follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/api/docs"
    assert host not in answer.text


def test_every_answer_has_a_request_id_of_its_own(client: httpx.Client) -> None:
    ids: list[Any] = [client.get("/health").headers["X-Request-Id"] for _ in range(10)]
    assert len(set(ids)) == 10
