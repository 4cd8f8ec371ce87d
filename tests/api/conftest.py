"""What the tests over HTTP say to the service that they share most."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import httpx
import pytest

from tests.support.envelope import data_of
from tests.support.service import Service
from tests.support.sql import Sql


@pytest.fixture(scope="module")
def start_shared(
    module_database_url: str, reach: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Service]]:
    """Call it, with settings as keywords, for a service that the tests of one file share, with the file's database."""
    with ExitStack() as services:

        def start(**environment: str) -> Service:
            environment = {"DATABASE_URL": reach(module_database_url), **environment}
            running = Service(environment, folder=tmp_path_factory.mktemp("service"), database_url=module_database_url)
            services.callback(running.kill)
            return running

        yield start


@pytest.fixture(scope="session")
def kept_client(service: Service) -> httpx.Client:
    return service.client(base_url=f"{service.url}/api/v1")


@pytest.fixture
def client(service: Service, kept_client: httpx.Client) -> Iterator[httpx.Client]:
    """An HTTP client of /api/v1. Afterwards the service's log has told of no defect: no input may cause one."""
    before = len(service.log)
    yield kept_client
    assert "Traceback" not in service.log[before:]


class Create(Protocol):
    """See the fixture."""

    def __call__(self, title: str = ..., **fields: Any) -> dict[str, Any]: ...


@pytest.fixture
def create(client: httpx.Client) -> Create:
    """Call it for a new task."""

    def post(title: str = "Buy milk", **fields: Any) -> dict[str, Any]:
        task: dict[str, Any] = data_of(client.post("/tasks", json={"title": title, **fields}), 201, "TASK_CREATED")
        return task

    return post


@pytest.fixture
def entries_of(client: httpx.Client) -> Callable[[str], list[dict[str, Any]]]:
    """Call it with a task's id for its history, newest first."""

    def get(task_id: str) -> list[dict[str, Any]]:
        page = data_of(client.get("/history", params={"task_id": task_id, "limit": 100}))
        assert not page["pagination"]["has_next"]
        items: list[dict[str, Any]] = page["items"]
        return items

    return get


Counts = tuple[Any, ...]


@pytest.fixture
def written(service_sql: Sql) -> Callable[[], Counts]:
    """Call it for figures that every write moves."""

    def count() -> Counts:
        statement = "SELECT count(*), sum(version), (SELECT count(*) FROM task_history) FROM tasks"
        (counts,) = service_sql.rows(statement)
        return counts

    return count


@pytest.fixture
def nothing_written(client: httpx.Client, written: Callable[[], Counts]) -> Iterator[None]:
    """Afterwards nothing is different in the database, and the list works."""
    before = written()
    yield
    assert written() == before
    data_of(client.get("/tasks"))
