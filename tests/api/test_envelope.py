"""Every answer under /api/v1, and every error on any path, has exactly the four keys."""

import http.client
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest

from taskapi.settings import Settings
from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

TASK = "/api/v1/tasks/{id}"

ROUTES = {
    "/api/v1/tasks": {"GET", "POST"},
    TASK: {"GET", "PUT", "DELETE"},
    f"{TASK}/complete": {"PATCH"},
    f"{TASK}/incomplete": {"PATCH"},
    f"{TASK}/undo": {"POST"},
    f"{TASK}/restore": {"POST"},
    "/api/v1/undo": {"POST"},
    "/api/v1/tasks/bulk": {"POST"},
    "/api/v1/history": {"GET"},
    "/api/v1/changes": {"GET"},
    f"{TASK}/versions": {"GET"},
    "/api/v1/stats/weekly": {"GET"},
    "/api/v1/stats/daily": {"GET"},
    "/api/v1/health": {"GET"},
    "/api/v1/health/ready": {"GET"},
}
"""The contract's paths under /api/v1, and the methods that each takes."""


def body_of(method: str, path: str, task_id: str) -> dict[str, Any]:
    """A good body of a request about this task, as httpx takes it; nothing where none is needed."""
    bodies: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/api/v1/tasks"): {"title": "New"},
        ("PUT", TASK): {"title": "New"},
        ("POST", f"{TASK}/undo"): {"version": 1},
        ("POST", f"{TASK}/restore"): {"version": 1},
        ("POST", "/api/v1/undo"): {"task_id": task_id, "version": 1},
        ("POST", "/api/v1/tasks/bulk"): {"create": [{"title": "New"}]},
    }
    return {"json": bodies[method, path]} if (method, path) in bodies else {}


QUERIES = {"/api/v1/stats/daily": "?from=2026-11-01&before=2026-11-25"}
"""What a path does not answer without."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


LIMIT = Settings.max_body_bytes

OVERSIZED = b'{"title": "x"}' + b" " * LIMIT


def allowed(methods: set[str]) -> set[str]:
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ROUTES)
def test_every_method_of_every_path(
    client: httpx.Client, create: Callable[..., dict[str, Any]], service: Service, path: str, method: str
) -> None:
    for task_id in (create()["id"], NOBODY, "nonsense"):
        answer = client.request(method, service.url + path.format(id=task_id), **body_of(method, path, task_id))
        assert (answer.status_code != 405) == (method in allowed(ROUTES[path]))
        if answer.status_code == 405:
            assert set(answer.headers["Allow"].split(", ")) == allowed(ROUTES[path])
        if method == "HEAD":
            assert answer.headers["Content-Type"] == "application/json"
            assert not answer.content
        else:
            envelope_of(answer)


@pytest.mark.parametrize(("path", "methods"), ROUTES.items(), ids=ROUTES)
def test_options_answers_what_is_allowed(client: httpx.Client, service: Service, path: str, methods: set[str]) -> None:
    answer = client.options(service.url + path.format(id=NOBODY))
    assert data_of(answer) is None
    assert set(answer.headers["Allow"].split(", ")) == allowed(methods)


@pytest.mark.parametrize("path", [path for path in ROUTES if "GET" in ROUTES[path]])
def test_head_is_get_without_the_body(
    client: httpx.Client, create: Callable[..., dict[str, Any]], service: Service, path: str
) -> None:
    url = service.url + path.format(id=create()["id"]) + QUERIES.get(path, "")
    head, get = client.head(url), client.get(url)
    assert (head.status_code, get.status_code) == (200, 200)
    assert not head.content
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.headers.get("Content-Length", get.headers["Content-Length"]) == get.headers["Content-Length"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/favicon.ico",
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/tasks",
        "/api/v1/nothing",
        "/api/v1/nothing?page=1",
        "/api/v1/tasks/",
        "/api/v1//tasks",
        "/api/v1/tasks//complete",
        "/api/v1/tasks/a%2Fb",
        f"/api/v1/tasks/{NOBODY}/",
        f"/api/v1/tasks/{NOBODY}/finish",
        f"/api/v1/tasks/{NOBODY}/complete/",
        "/api/v1/tasks/bulk/",
        "/api/v1/tasks/bulk/complete",
        "/api/v1/tasks/Bulk/nothing",
        "/api/v1/history/",
        "/api/v1/stats",
        "/api/v1/health/",
        "/API/V1/tasks",
        "/api/docs/",
        "/etc/passwd",
        "/%00",
        "/%ff",
        "/<script>",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_an_unknown_path_is_404_and_never_a_redirect(
    client: httpx.Client, service: Service, method: str, path: str
) -> None:
    error_of(raw.send(service.port, raw.request(method, path)), 404)


@pytest.mark.parametrize(
    "name", ["nothing.js", "../../app.py", "../api.py", "%2e%2e/api.py", "..%2fapi.py", "/etc/passwd"]
)
def test_a_file_that_is_not_of_the_docs_is_404(client: httpx.Client, service: Service, name: str) -> None:
    error_of(raw.send(service.port, raw.request("GET", f"/api/docs/{name}")), 404)


@pytest.mark.parametrize("path", ["/", "/api/docs", "/api/openapi.json", "/api/docs/redoc.js"])
def test_a_wrong_method_outside_the_api_is_405(client: httpx.Client, service: Service, path: str) -> None:
    answer = client.post(service.url + path)
    error_of(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", [path for path in ROUTES if path.startswith(TASK)])
def test_an_unknown_task_is_404(client: httpx.Client, service: Service, path: str) -> None:
    for method in ROUTES[path]:
        answer = client.request(method, service.url + path.format(id=NOBODY), **body_of(method, path, NOBODY))
        assert error_of(answer, 404) == "There is no such task."


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/tasks"), ("POST", "/api/v1/tasks/bulk"), ("PUT", TASK)])
class TestRefusedBodies:
    def test_one_that_is_no_json_is_400(self, client: httpx.Client, service: Service, method: str, path: str) -> None:
        path = path.format(id=NOBODY)
        error_of(raw.send(service.port, raw.sized(method, path, b"{title: x}")), 400)

    def test_none_is_400(self, client: httpx.Client, service: Service, method: str, path: str) -> None:
        error_of(raw.send(service.port, raw.sized(method, path.format(id=NOBODY), b"")), 400)

    def test_another_content_type_is_415(self, client: httpx.Client, service: Service, method: str, path: str) -> None:
        answer = client.request(method, service.url + path.format(id=NOBODY), data={"title": "x"})
        error_of(answer, 415)

    def test_a_broken_rule_is_422(self, client: httpx.Client, service: Service, method: str, path: str) -> None:
        answer = client.request(method, service.url + path.format(id=NOBODY), json={"title": 5, "colour": "red"})
        error = error_of(answer, 422)
        title = "is not known here" if path.endswith("/bulk") else "must be a string"
        assert sorted(error.split("; ")) == ["colour: is not known here", f"title: {title}"]

    @pytest.mark.parametrize("encode", [raw.sized, raw.chunked], ids=["sized", "chunked"])
    def test_one_beyond_the_limit_is_413(
        self,
        client: httpx.Client,
        service: Service,
        method: str,
        path: str,
        encode: Callable[[str, str, bytes], bytes],
    ) -> None:
        # Its first MiB would be a whole task, and the byte behind that belongs to it.
        for body in (OVERSIZED, OVERSIZED[: LIMIT + 1], OVERSIZED[:LIMIT] + b"garbage"):
            error_of(raw.send(service.port, encode(method, path.format(id=NOBODY), body)), 413)

    def test_a_length_beyond_the_limit_is_413_before_the_body_comes(
        self, client: httpx.Client, service: Service, method: str, path: str
    ) -> None:
        headers = {**raw.JSON, "Content-Length": str(10**15)}
        error_of(raw.send(service.port, raw.request(method, path.format(id=NOBODY), headers)), 413)


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
@pytest.mark.parametrize(
    "refusal",
    [
        ("POST", "/api/v1/tasks", "application/json", 400),
        ("POST", "/api/v1/tasks", "text/plain", 415),
        ("POST", "/api/v1/tasks?x=1", "application/json", 400),
        ("DELETE", f"/api/v1/tasks/{NOBODY}?x=1", "application/json", 422),
        ("PATCH", f"/api/v1/tasks/{NOBODY}/complete", "application/json", 404),
        ("DELETE", f"/api/v1/tasks/{NOBODY}", "application/json", 404),
        ("POST", "/api/v1/history", "application/json", 405),
        ("POST", "/api/v1/nothing", "application/json", 404),
    ],
)
def test_a_body_that_is_not_read_is_not_the_next_request(
    client: httpx.Client, service: Service, refusal: tuple[str, str, str, int], chunked: bool
) -> None:
    method, path, content_type, status = refusal
    body = b"GET /api/v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 3000
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=40)) as connection:
        content = iter([body]) if chunked else body
        connection.request(method, path, content, {"Content-Type": content_type}, encode_chunked=chunked)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        # On the same connection, unless the service has closed it.
        connection.request("GET", "/api/v1/health")
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("encode", [raw.sized, raw.chunked], ids=["sized", "chunked"])
def test_a_body_at_the_limit_is_read(
    client: httpx.Client, service: Service, encode: Callable[[str, str, bytes], bytes]
) -> None:
    answer = raw.send(service.port, encode("POST", "/api/v1/tasks", OVERSIZED[:LIMIT]))
    assert data_of(answer, 201, "TASK_CREATED")["title"] == "x"


def test_the_limit_is_configurable(start_shared: Callable[..., Service]) -> None:
    service = start_shared(MAX_BODY_BYTES="20")
    with service.client() as client:
        data_of(client.post("/api/v1/tasks", json={"title": "1234567"}), 201, "TASK_CREATED")
        error_of(client.post("/api/v1/tasks", json={"title": "a little more than that"}), 413)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/json", "application/jsonx", "application/+json", "json", ""]
)
def test_what_is_no_json_content_type(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/tasks", content=b'{"title": "x"}', headers={"Content-Type": content_type})
    error_of(answer, 415)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/JSON; charset=utf-8", "application/vnd.api+json", "application/json;"],
)
def test_what_is_a_json_content_type(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/tasks", content=b'{"title": "x"}', headers={"Content-Type": content_type})
    data_of(answer, 201, "TASK_CREATED")


@pytest.mark.parametrize(
    "data",
    [
        raw.request("GET", f"/api/v1/tasks/{'x' * 10_000}"),
        raw.request("GET", "/api/v1/history?page=" + "9" * 10_000),
        raw.request("GET", "/api/v1/tasks", {"X-Long": "x" * 20_000}),
        raw.request("GET", "/api/v1/tasks", {f"X-{number}": "x" for number in range(200)}),
        raw.request("get", "/api/v1/tasks"),
        raw.request("GET", "/api/v1/tasks/é"),
        raw.request("GET", "/api/v1/tasks", {"A name": "x"}),
        raw.request("POST", "/api/v1/tasks", {"Idempotency-Key": "\x7f", "Content-Length": "0"}),
        raw.request("POST", "/api/v1/tasks", {"Content-Length": "-1"}),
        raw.request("POST", "/api/v1/tasks", {"Transfer-Encoding": "gzip"}),
    ],
    ids=[
        "a path of 10 kB",
        "a query of 10 kB",
        "a header of 20 kB",
        "200 headers",
        "a method in lower case",
        "a path in latin-1",
        "a header's name with a space",
        "a key that is not printable",
        "a negative length",
        "an unknown transfer encoding",
    ],
)
def test_what_gunicorn_itself_refuses_is_in_the_envelope(client: httpx.Client, service: Service, data: bytes) -> None:
    answer = raw.send(service.port, data)
    assert 400 <= answer.status_code < 500
    envelope_of(answer)
    data_of(client.get("/health"))
