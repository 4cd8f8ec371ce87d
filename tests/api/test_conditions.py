"""Conditional headers and content negotiation (RFC 9110, sections 12 and 13)."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from tests.api.test_envelope import QUERIES, ROUTES, body_of
from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

EVERY = sorted((method, path.removeprefix("/api/v1")) for path, methods in ROUTES.items() for method in methods)
CHANGES = [pair for pair in EVERY if "{id}" in pair[1] and pair[0] != "GET"]
"""The writes on one task, which take an If-Match."""
OTHERS = [pair for pair in EVERY if pair not in CHANGES]
CACHED = [("GET", "/tasks"), ("GET", "/tasks/{id}")]
"""What takes an If-None-Match."""

Create = Callable[..., dict[str, Any]]


def ask(client: httpx.Client, method: str, path: str, task_id: str, **headers: str) -> httpx.Response:
    route, _, query = path.partition("?")
    if not query:
        path += QUERIES.get(f"/api/v1{route}", "")
    return client.request(
        method,
        path.format(id=task_id),
        headers={name.replace("_", "-"): text for name, text in headers.items()},
        **body_of(method, f"/api/v1{route}", task_id),
    )


def status_of(method: str, path: str) -> int:
    """The status of a success."""
    return 201 if method == "POST" and path in ("/tasks", "/tasks/bulk") else 200


@pytest.mark.parametrize("tags", ['"7"', 'W/"7"', '"a", "b"', '""', '"01"', '"1.0"', ' , "7",,', '"1é"'])
@pytest.mark.parametrize("change", CHANGES)
def test_another_version_is_412_and_nothing_is_done(
    client: httpx.Client, service: Service, create: Create, change: tuple[str, str], tags: str
) -> None:
    (method, path), task = change, create()
    target = f"/api/v1{path.format(id=task['id'])}"
    before = client.get(f"/tasks/{task['id']}").content
    body = body_of(method, f"/api/v1{path}", task["id"]).get("json")
    sent = raw.sized(method, target, orjson.dumps(body) if body else b"", {**raw.JSON, "If-Match": tags})
    answer = raw.send(service.port, sent)
    assert error_of(answer, 412).startswith("The task is at version 1, not ")
    assert answer.headers["ETag"] == '"1"'
    assert client.get(f"/tasks/{task['id']}").content == before


@pytest.mark.parametrize("tags", ["*", 'W/"1"', '"7", "1"', '"7" ,,W/"1" , "x"'])
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_its_own_version_matches(client: httpx.Client, create: Create, method: str, path: str, tags: str) -> None:
    assert ask(client, method, path, create()["id"], If_Match=tags).is_success


@pytest.mark.parametrize(
    "tags", ["", "7", '"7', "'7'", 'w/"7"', '"7" "8"', '"a", *', "**", '*, "7"', '"7"x', "W/7", ",", '"1 "']
)
def test_what_is_no_list_of_tags_is_422(client: httpx.Client, create: Create, tags: str) -> None:
    task = create()
    before = data_of(client.get("/tasks"))
    for method, path in CHANGES:
        assert error_of(ask(client, method, path, task["id"], If_Match=tags), 422).startswith("If-Match: ")
    assert error_of(client.get(f"/tasks/{task['id']}", headers={"If-None-Match": tags}), 422).startswith(
        "If-None-Match: "
    )
    assert data_of(client.get("/tasks")) == before


@pytest.mark.parametrize("tags", ["*", '"7"', "nonsense"])
@pytest.mark.parametrize(("method", "path"), OTHERS)
def test_elsewhere_an_if_match_is_422(
    client: httpx.Client, nothing_written: None, method: str, path: str, tags: str
) -> None:
    answer = ask(client, method, path, NOBODY, If_Match=tags)
    assert error_of(answer, 422).startswith("If-Match: ")


@pytest.mark.parametrize(("method", "path"), [pair for pair in EVERY if pair not in CACHED])
@pytest.mark.parametrize("tags", ["*", '"1"', "nonsense"])
def test_elsewhere_an_if_none_match_is_ignored(
    client: httpx.Client, create: Create, method: str, path: str, tags: str
) -> None:
    answer = ask(client, method, path, create()["id"], If_None_Match=tags)
    assert answer.status_code == status_of(method, path)
    envelope_of(answer)


@pytest.mark.parametrize(("method", "path"), EVERY)
@pytest.mark.parametrize(
    "headers",
    [
        {"If_Modified_Since": "Sat, 01 Jan 2050 00:00:00 GMT"},
        {"If_Unmodified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"If_Range": '"7"', "Range": "bytes=0-1"},
        {"Range": "bytes=0-1"},
    ],
    ids=" ".join,
)
def test_dates_and_ranges_are_ignored(
    client: httpx.Client, create: Create, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(client, method, path, create()["id"], **headers)
    assert answer.status_code == status_of(method, path)
    envelope_of(answer)


@pytest.mark.parametrize("headers", [{"If_Match": '"7"'}, {"If_Match": "*"}, {"If_None_Match": "*"}], ids=str)
def test_conditions_come_after_everything_else(client: httpx.Client, headers: dict[str, str]) -> None:
    for method, path in CHANGES:
        error_of(ask(client, method, path, NOBODY, **headers), 404)
        error_of(ask(client, method, path, "nonsense", **headers), 422)
        error_of(ask(client, method, f"{path}?x=1", NOBODY, **headers), 422)
    for path in ("/tasks", f"/tasks/{NOBODY}"):
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        method = "POST" if path == "/tasks" else "PUT"
        assert error_of(client.request(method, path, json={"title": ""}, headers=sent), 422).startswith("title: ")
        error_of(client.request(method, path, content="{", headers={**sent, **raw.JSON}), 400)
        error_of(client.request(method, path, content="{}", headers=sent), 415)


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/redoc.js", "/api/openapi.json"])
@pytest.mark.parametrize(
    ("name", "text"), [("If-Match", '"7"'), ("Range", "bytes=99999999-"), ("If-None-Match", '"7"')]
)
def test_an_error_about_the_docs_is_in_the_envelope(
    client: httpx.Client, service: Service, path: str, name: str, text: str
) -> None:
    answer = client.get(service.url + path, headers={name: text})
    if answer.status_code != 200:
        error_of(answer, answer.status_code)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/redoc.standalone.js"])
@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=5-1", "items=0-1", "bytes=99999999-"])
def test_the_docs_are_sent_whole_whatever_part_is_asked_for(
    client: httpx.Client, service: Service, path: str, method: str, asked: str
) -> None:
    def status(**headers: str) -> int:
        return client.request(method, service.url + path, headers={"Range": asked, **headers}).status_code

    assert status() == 200
    # The conditions come first (RFC 9110, section 13.2.2).
    assert status(**{"If-Match": '"7"'}) == 412
    assert status(**{"If-None-Match": "*"}) == 304


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/redoc.js"])
def test_the_docs_are_not_sent_again_to_a_browser_that_has_them(
    client: httpx.Client, service: Service, path: str
) -> None:
    tag = client.get(service.url + path).headers["ETag"]
    assert client.get(service.url + path, headers={"If-None-Match": tag}).status_code == 304


# What is accepted


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/json",
        "APPLICATION/JSON",
        "text/html",
        "application/*;q=0.1",
        "image/png",
        "x",
        ";q=",
    ],
)
def test_answers_are_json_whatever_is_accepted(client: httpx.Client, service: Service, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    for path, status in (("/api/v1/tasks", 200), ("/api/v1/health", 200), ("/api/v1/nothing", 404), ("/", 302)):
        answer = raw.send(service.port, raw.request("GET", path, headers))
        assert answer.status_code == status
        if status != 302:
            assert answer.headers["Content-Type"] == "application/json"
            envelope_of(answer)


@pytest.mark.parametrize(
    "content_type",
    [
        "Application/JSON",
        "application/json;charset=UTF-8",
        "application/json ; charset=utf-8",
        'application/json; charset="utf-8"',
        "application/json; profile=x; charset=utf-8",
        "application/json;;",
        "APPLICATION/VND.API+JSON; version=1",
        "application/problem+json",
    ],
)
def test_json_in_every_spelling_is_read(service: Service, client: httpx.Client, content_type: str) -> None:
    sent = raw.sized("POST", "/api/v1/tasks", b'{"title": "x"}', {"Content-Type": content_type})
    data_of(raw.send(service.port, sent), 201, "TASK_CREATED")


@pytest.mark.parametrize(
    "content_type", ["application/jsonp", "application/json-seq", "text/json", "application/json/x", "json", "*/*", ";"]
)
def test_what_is_not_json_is_415(service: Service, client: httpx.Client, content_type: str) -> None:
    error_of(raw.send(service.port, raw.sized("POST", "/api/v1/tasks", b"{}", {"Content-Type": content_type})), 415)
