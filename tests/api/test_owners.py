"""Nothing of another owner exists: each answer is that for a task which never was, whoever asks for it."""

import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from flask import Flask

from taskapi.app import create_app
from taskapi.cursors import Cursor
from taskapi.settings import Settings
from tests.conftest import StartService
from tests.support.envelope import data_of, error_of
from tests.support.owners import SECRET, bearer, secured
from tests.support.service import Service
from tests.support.sql import Sql

TITLE = "Ann's secret"
SINCE = "2026-01-01T00:00:00Z"
AS_OF = "2100-01-01T00:00:00Z"


@dataclass(frozen=True)
class World:
    """What ann has: a task that is there, one that is deleted, and the marks of her requests."""

    there: str
    deleted: str
    cursor: str
    tag: str
    moment: str
    request_id: str = "request-of-ann"
    change_set: str = "run-of-ann"
    actor: str = "ann"
    key: str = "key-of-ann"

    def never(self) -> "World":
        """The same of what never was."""
        cursor = str(replace(Cursor.parse(self.cursor), newest=str(uuid4())))
        marks = [f"never-{uuid4()}" for _ in range(4)]
        return World(str(uuid4()), str(uuid4()), cursor, "never", self.moment, *marks)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


REQUESTS: dict[str, Callable[[World], Asked]] = {
    "Tasks.get_task": lambda ann: Asked("GET", f"/tasks/{ann.there}"),
    "with its tag": lambda ann: Asked("GET", f"/tasks/{ann.there}", headers={"If-None-Match": '"10"'}),
    "as of a moment": lambda ann: Asked("GET", f"/tasks/{ann.there}?as_of={ann.moment}"),
    "Time travel.list_versions": lambda ann: Asked("GET", f"/tasks/{ann.there}/versions"),
    "History.list_history": lambda ann: Asked("GET", f"/history?task_id={ann.there}"),
    "the history of a request": lambda ann: Asked("GET", f"/history?request_id={ann.request_id}"),
    "the history of a change set": lambda ann: Asked("GET", f"/history?change_set={ann.change_set}"),
    "the history of an actor": lambda ann: Asked("GET", f"/history?actor={ann.actor}"),
    "the history of a deleted task": lambda ann: Asked("GET", f"/history?task_id={ann.deleted}"),
    "Tasks.list_tasks": lambda ann: Asked("GET", "/tasks", headers={"If-None-Match": f'"{ann.tag}"'}),
    "a search": lambda ann: Asked("GET", "/tasks?text=secret&count=true"),
    "the list as of a moment": lambda ann: Asked("GET", f"/tasks?as_of={ann.moment}&limit=10"),
    "Changes.list_changes": lambda ann: Asked("GET", f"/changes?after={ann.cursor}"),
    "all changes": lambda ann: Asked("GET", "/changes"),
    "Statistics.weekly_stats": lambda ann: Asked("GET", "/stats/weekly"),
    "Statistics.daily_stats": lambda ann: Asked("GET", "/stats/daily?from=2026-11-01&before=2026-12-01"),
    "a deleted task": lambda ann: Asked("GET", f"/tasks/{ann.deleted}"),
    "versions of a deleted task": lambda ann: Asked("GET", f"/tasks/{ann.deleted}/versions"),
    "a preview": lambda ann: Asked("POST", "/undo", {"change_set": ann.change_set, "dry_run": True}),
    "Tasks.update_task": lambda ann: Asked("PUT", f"/tasks/{ann.there}", {"title": "taken"}),
    "with another's version": lambda ann: Asked(
        "PUT", f"/tasks/{ann.there}", {"title": "taken"}, {"If-Match": '"1"', "Idempotency-Key": f"{ann.key}-3"}
    ),
    "Tasks.complete_task": lambda ann: Asked("PATCH", f"/tasks/{ann.there}/complete"),
    "Tasks.reopen_task": lambda ann: Asked("PATCH", f"/tasks/{ann.there}/incomplete"),
    "Bulk.write_tasks": lambda ann: Asked("POST", "/tasks/bulk", {"update": [{"id": ann.there, "title": "taken"}]}),
    "completed with others": lambda ann: Asked("POST", "/tasks/bulk", {"complete": [ann.there]}),
    "deleted with others": lambda ann: Asked("POST", "/tasks/bulk", {"delete": [{"id": ann.there, "version": 1}]}),
    "Undo.undo_change": lambda ann: Asked("POST", f"/tasks/{ann.there}/undo", {"version": 2}),
    "Undo.restore_task": lambda ann: Asked("POST", f"/tasks/{ann.there}/restore", {"version": 1}),
    "restoring a deleted task": lambda ann: Asked("POST", f"/tasks/{ann.deleted}/restore", {}),
    "undoing a deletion": lambda ann: Asked("POST", f"/tasks/{ann.deleted}/undo", {"version": 2}),
    "Undo.undo_changes": lambda ann: Asked("POST", "/undo", {"task_id": ann.there, "version": 2}),
    "undoing a request": lambda ann: Asked("POST", "/undo", {"request_id": ann.request_id}),
    "undoing an actor": lambda ann: Asked("POST", "/undo", {"actor": ann.actor, "since": SINCE}),
    "Tasks.create_task": lambda ann: Asked("POST", "/tasks", {"title": TITLE}, {"Idempotency-Key": ann.key}),
    "the key of others at once": lambda ann: Asked(
        "POST", "/tasks/bulk", {"create": [{"title": TITLE}]}, {"Idempotency-Key": f"{ann.key}-2"}
    ),
    "Tasks.delete_task": lambda ann: Asked("DELETE", f"/tasks/{ann.there}"),
}
"""In an order in which each means something to ann, too. An endpoint's name stands for its plainest request."""


def ask(client: httpx.Client, owner: dict[str, str], asked: Asked) -> httpx.Response:
    content = {} if asked.body is None else {"json": asked.body}
    return client.request(asked.method, asked.path, headers={**owner, **asked.headers}, **content)


VARYING = {"date", "x-request-id", "content-length"}


def plain(answer: httpx.Response, world: World) -> tuple[int, str, dict[str, str]]:
    """The answer without what is of its own: ids, times, positions, and what was asked for."""

    def cleaned(text: str) -> str:
        for value in astuple(world):
            text = text.replace(value, "…")
        text = re.sub(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "…", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "…", text)
        # A cursor, and a list's tag: they move with every transaction of the server, whoever's.
        return re.sub(r'(after=|"cursor":"|\.)[\w-]{12,}', r"\1…", text)

    headers = {name: cleaned(value) for name, value in answer.headers.items() if name.lower() not in VARYING}
    return answer.status_code, cleaned(answer.text), headers


@pytest.fixture(scope="module")
def many(start_shared: Callable[..., Service], module_database_url: str, reach: Callable[[str], str]) -> Service:
    """The service with sign-in, as the role that row-level security holds for."""
    return start_shared(DATABASE_URL=reach(secured(module_database_url)), JWT_SECRET=SECRET, API_TOKENS="robot:machine")


@pytest.fixture(scope="module")
def client(many: Service) -> httpx.Client:
    return many.client(base_url=f"{many.url}/api/v1")


@pytest.fixture(scope="module")
def ann(client: httpx.Client, module_database_url: str) -> World:
    """Ann has a world, and bob has tasks of his own."""
    owner = bearer("ann")
    marked = {**owner, "X-Request-Id": "request-of-ann", "Change-Set": "run-of-ann"}
    keys = {**marked, "Idempotency-Key": "key-of-ann"}
    there = data_of(client.post("/tasks", json={"title": TITLE}, headers=keys), 201, "TASK_CREATED")["id"]
    client.post("/tasks/bulk", json={"create": [{"title": TITLE}]}, headers={**keys, "Idempotency-Key": "key-of-ann-2"})
    deleted = data_of(client.post("/tasks", json={"title": TITLE}, headers=owner), 201, "TASK_CREATED")["id"]
    for number in range(3):
        client.put(f"/tasks/{there}", json={"description": f"{TITLE} {number}"}, headers=marked)
        client.patch(f"/tasks/{there}/complete", headers=owner)
        client.patch(f"/tasks/{there}/incomplete", headers=owner)
    client.delete(f"/tasks/{deleted}", headers=marked)
    for title in ("one of bob's", "another one"):
        data_of(client.post("/tasks", json={"title": title}, headers=bearer("bob")), 201, "TASK_CREATED")
    listed = client.get("/tasks", headers=owner)
    cursor = listed.links["monitor"]["url"].partition("after=")[2]
    with Sql(module_database_url) as sql:
        moment = sql.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    return World(there, deleted, cursor, listed.headers["ETag"].strip('"'), moment)


ROWS = "SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {table} AS row WHERE owner = 'ann'"


def rows_of_ann(url: str) -> list[str]:
    """What the tables have of ann."""
    with Sql(url) as sql:
        return [sql.value(ROWS.format(table=table)) for table in ("tasks", "task_history")]


def test_every_endpoint_is_asked() -> None:
    app: Flask = create_app(Settings(database_url="postgresql://nobody@localhost/none"))
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/v1")}
    assert endpoints - set(REQUESTS) == {"Health.get_health", "Health.get_readiness"}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("owner", ["bob", "cid"])
def test_for_another_owner_it_never_was(
    owner: str, name: str, ann: World, client: httpx.Client, module_database_url: str
) -> None:
    """Bob has tasks of his own, and cid has none."""
    before, never = rows_of_ann(module_database_url), ann.never()
    other = plain(ask(client, bearer(owner), REQUESTS[name](never)), never)
    answer = ask(client, bearer(owner), REQUESTS[name](ann))
    if "Idempotency-Key" in REQUESTS[name](ann).headers and answer.status_code in (200, 201):
        assert "Idempotency-Replayed" not in answer.headers
    assert plain(answer, ann) == other
    assert TITLE not in answer.text or name in ("Tasks.create_task", "the key of others at once")
    assert rows_of_ann(module_database_url) == before


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("token", [{}, {"Authorization": "Bearer nobody's"}, {"Authorization": f"Bearer {SECRET}"}])
def test_for_nobody_there_is_nothing(
    token: dict[str, str], name: str, ann: World, client: httpx.Client, module_database_url: str
) -> None:
    before, never = rows_of_ann(module_database_url), ann.never()
    answer = ask(client, token, REQUESTS[name](ann))
    assert answer.status_code == 401
    assert plain(answer, ann) == plain(ask(client, token, REQUESTS[name](never)), never)
    assert rows_of_ann(module_database_url) == before


def test_it_is_ready_only_as_a_role_that_row_level_security_holds_for(
    client: httpx.Client, start_service: StartService, database_url: str
) -> None:
    data_of(client.get("/health/ready"))
    # Never through a pooler, which knows the lesser role alone.
    signed_in = start_service(DATABASE_URL=database_url, JWT_SECRET=SECRET)
    answer = signed_in.client(base_url=f"{signed_in.url}/api/v1").get("/health/ready")
    error = error_of(answer, 503)
    assert error.startswith("row-level security is not active for this role.")
    assert "`python -m taskapi.role NAME`" in error
    assert answer.headers["Retry-After"]
    assert "row-level security is not active for this role" in signed_in.log.partition("taskapi is ready")[0]
    lesser = start_service(DATABASE_URL=secured(database_url), JWT_SECRET=SECRET)
    data_of(lesser.client(base_url=f"{lesser.url}/api/v1").get("/health/ready"))
    # Without sign-in, it does not matter.
    unsigned = start_service(DATABASE_URL=database_url)
    data_of(unsigned.client(base_url=f"{unsigned.url}/api/v1").get("/health/ready"))


def test_a_new_owner_has_nothing(client: httpx.Client, ann: World) -> None:
    dan = bearer("dan")
    assert data_of(client.get("/tasks", headers=dan)) == []
    assert data_of(client.get("/history", headers=dan))["pagination"]["total_count"] == 0
    assert data_of(client.get("/changes", headers=dan))["items"] == []
    stats = data_of(client.get("/stats/weekly", headers=dan))
    assert {value for value in stats.values() if isinstance(value, int)} == {0}


def test_tokens_of_the_service_have_a_list_of_their_own(client: httpx.Client, ann: World) -> None:
    machine = {"Authorization": "Bearer machine"}
    task = data_of(client.post("/tasks", json={"title": "of a machine"}, headers=machine), 201, "TASK_CREATED")
    assert [one["id"] for one in data_of(client.get("/tasks", headers=machine))] == [task["id"]]
    assert error_of(client.get(f"/tasks/{task['id']}", headers=bearer("ann")), 404) == "There is no such task."
    (entry,) = data_of(client.get("/history", headers=machine))["items"]
    assert entry["actor"] == "robot"


def test_for_their_owner_they_are_there(client: httpx.Client, ann: World) -> None:
    """Each request is one that would get something, or else the others prove nothing."""
    for name, request in REQUESTS.items():
        answer = ask(client, bearer("ann"), request(ann))
        if name not in ("a deleted task", "Tasks.delete_task"):
            assert answer.status_code in (200, 201, 304, 409, 412), (name, answer.text)
    history = data_of(client.get(f"/history?task_id={ann.there}", headers=bearer("ann")))["items"]
    assert {entry["actor"] for entry in history} == {"ann"}
