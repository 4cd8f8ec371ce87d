"""Conditional headers and content negotiation (RFC 9110, sections 12 and 13), as long as tasks have no ETag."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

BODY: dict[str, Any] = {"json": {"title": "Written"}}

READS: list[tuple[str, str]] = [("GET", "/tasks"), ("GET", "/tasks/{id}")]
WRITES: list[tuple[str, str]] = [
    ("POST", "/tasks"),
    ("PUT", "/tasks/{id}"),
    ("DELETE", "/tasks/{id}"),
    ("PATCH", "/tasks/{id}/complete"),
    ("PATCH", "/tasks/{id}/incomplete"),
]

Create = Callable[..., dict[str, Any]]


def ask(client: httpx.Client, method: str, path: str, **headers: str) -> httpx.Response:
    body = BODY if method in ("POST", "PUT") else {}
    return client.request(
        method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}, **body
    )


@pytest.mark.parametrize("tags", ['"7"', 'W/"7"', '"a", "b"', '""', "7", "", '"a", *', "**"])
@pytest.mark.parametrize(("method", "path"), [*READS, *WRITES])
def test_an_if_match_that_cannot_match_is_412_and_nothing_is_done(
    client: httpx.Client, create: Create, method: str, path: str, tags: str
) -> None:
    task = create()
    before = data_of(client.get("/tasks"))
    assert "If-Match" in error_of(ask(client, method, path.format(id=task["id"]), If_Match=tags), 412)
    assert data_of(client.get("/tasks")) == before


@pytest.mark.parametrize(("method", "path"), [*READS, *WRITES])
def test_any_task_matches_the_star(client: httpx.Client, create: Create, method: str, path: str) -> None:
    assert ask(client, method, path.format(id=create()["id"]), If_Match="*").is_success


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_write_for_what_is_not_there_yet_is_412(client: httpx.Client, create: Create, method: str, path: str) -> None:
    task = create()
    before = data_of(client.get("/tasks"))
    assert "If-None-Match" in error_of(ask(client, method, path.format(id=task["id"]), If_None_Match="*"), 412)
    assert data_of(client.get("/tasks")) == before


@pytest.mark.parametrize(("method", "path"), [*READS, *WRITES])
@pytest.mark.parametrize(
    "headers",
    [
        {"If_None_Match": '"7", W/"8"'},
        {"If_Modified_Since": "Sat, 01 Jan 2050 00:00:00 GMT"},
        {"If_Unmodified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"If_Range": '"7"', "Range": "bytes=0-1"},
        {"Range": "bytes=0-1"},
    ],
    ids=" ".join,
)
def test_what_no_tag_and_no_date_can_fail(
    client: httpx.Client, create: Create, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(client, method, path.format(id=create()["id"]), **headers)
    assert answer.status_code == (201 if method == "POST" else 200)
    envelope_of(answer)


@pytest.mark.parametrize("headers", [{"If_Match": '"7"'}, {"If_Match": "*"}, {"If_None_Match": "*"}], ids=str)
def test_conditions_come_after_everything_else(client: httpx.Client, headers: dict[str, str]) -> None:
    for method, path in [*READS, *WRITES]:
        if "{id}" in path:
            error_of(ask(client, method, path.format(id=NOBODY), **headers), 404)
            error_of(ask(client, method, path.format(id="nonsense"), **headers), 422)
        error_of(ask(client, method, f"{path.format(id=NOBODY)}?x=1", **headers), 422)
    for path in ("/tasks", f"/tasks/{NOBODY}"):
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        method = "POST" if path == "/tasks" else "PUT"
        error_of(client.request(method, path, json={"title": ""}, headers=sent), 422)
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
