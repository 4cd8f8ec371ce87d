"""CORS: exact origins with credentials, never a wildcard, never another origin's name."""

from collections.abc import Callable

import httpx
import pytest

from taskapi.web.cors import ALLOWED, EXPOSED
from tests.support.service import Service
from tests.support.tasks import NOBODY

HERE = "http://localhost:3000"
APP = "https://app.example.com"

OTHERS = [
    "null",
    "*",
    "http://localhost",
    "http://localhost:3001",
    "https://localhost:3000",
    "http://localhost:3000.evil.example",
    "http://localhost:30000",
    "http://evil.example",
    "http://evil.example/http://localhost:3000",
    "http://xlocalhost:3000",
    "http://localhost:3000/",
    "http://LOCALHOST:3000",
    "HTTP://localhost:3000",
    "http://localhost.:3000",
    "http://localhost:03000",
    "http://localhost:3000, http://localhost:3000",
    "http://localhost:3000 http://evil.example",
    "http://user@localhost:3000",
    "http://localhost:3000#",
    "http://localhost:3000?",
    "http://[::1]:3000",
    "http://127.0.0.1:3000",
    "file://",
]

PATHS = [
    ("GET", "/tasks"),
    ("POST", "/tasks"),
    ("GET", f"/tasks/{NOBODY}"),
    ("PUT", f"/tasks/{NOBODY}"),
    ("DELETE", f"/tasks/{NOBODY}"),
    ("PATCH", f"/tasks/{NOBODY}/complete"),
    ("GET", "/history"),
    ("GET", "/stats/weekly"),
    ("GET", "/health"),
    ("GET", "/nothing"),
    ("DELETE", "/history"),
]


def words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


def assert_allowed(answer: httpx.Response, origin: str) -> None:
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"


def assert_not_allowed(answer: httpx.Response) -> None:
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_the_frontend_may_read_every_answer(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"Origin": HERE})
    assert_allowed(answer, HERE)
    assert words(answer.headers["Access-Control-Expose-Headers"]) == words(EXPOSED)


@pytest.mark.parametrize("origin", OTHERS)
def test_no_other_page_may(client: httpx.Client, origin: str) -> None:
    for method, path in PATHS:
        assert_not_allowed(client.request(method, path, headers={"Origin": origin}))
        preflight = {"Origin": origin, "Access-Control-Request-Method": method}
        assert_not_allowed(client.options(path, headers=preflight))


def test_without_an_origin_nothing_is_said(client: httpx.Client) -> None:
    assert not [name for name in client.get("/tasks").headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_preflight(client: httpx.Client, method: str) -> None:
    wanted = ", ".join(ALLOWED).lower()
    asked = {
        "Origin": HERE,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": wanted,
    }
    path = next(path for allowed, path in PATHS if allowed == method)
    answer = client.options(path, headers=asked)
    assert answer.status_code == 200
    assert_allowed(answer, HERE)
    assert method.lower() in words(answer.headers["Access-Control-Allow-Methods"])
    assert words(answer.headers["Access-Control-Allow-Headers"]) == words(wanted)
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "address",
    [
        "/tasks?limit=1",
        "/tasks?is_completed=false&text=milk",
        f"/tasks/{NOBODY}?as_of=2026-11-01T00:00:00Z",
        f"/tasks/{NOBODY}/versions?after=1",
        "/tasks/none?as_of=now",
        "/tasks/bulk?a=b",
        "/undo?a=b",
        "/history?limit=5",
        "/changes?wait=5",
        "/stats/weekly?tz=UTC",
        "/stats/daily?tz=UTC",
        "/health?a=b",
        "/health/ready?a=b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_preflight_has_the_address_of_the_request_that_follows(
    client: httpx.Client, method: str, address: str
) -> None:
    """Also a wrong one: the browser shows the page what is wrong only if it may send the request."""
    asked = {
        "Origin": HERE,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }
    answer = client.options(address, headers=asked)
    assert answer.status_code == 200
    assert_allowed(answer, HERE)
    assert words(answer.headers["Access-Control-Allow-Headers"]) == {"authorization"}


def test_a_preflight_allows_no_other_headers(client: httpx.Client) -> None:
    asked = {
        "Origin": HERE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "content-type, x-anything, cookie",
    }
    assert words(client.options("/tasks", headers=asked).headers["Access-Control-Allow-Headers"]) == {"content-type"}


@pytest.fixture(scope="module")
def some_origins(start_shared: Callable[..., Service]) -> Service:
    return start_shared(CORS_ORIGINS=f"{APP}, https://Other.example.com:8443/, http://[0::1]:3000")


@pytest.mark.parametrize("origin", [APP, "https://other.example.com:8443", "http://[::1]:3000"])
def test_configured_origins(some_origins: Service, origin: str) -> None:
    with some_origins.client() as client:
        answer = client.get("/api/v1/tasks", headers={"Origin": origin})
        assert_allowed(answer, origin)
        assert "origin" in words(answer.headers["Vary"])


@pytest.mark.parametrize(
    "origin",
    [
        HERE,
        "https://app_example.com",
        "https://appXexample.com",
        "https://sub.app.example.com",
        "https://app.example.com:443",
        "https://app.example.com.evil.example",
        f"{APP}, https://other.example.com:8443",
        "https://Other.example.com:8443",
        "https://other.example.com:8443/",
        # What an IPv6 address would let in if its brackets were a pattern's.
        "http://1:3000",
        "http://::3000",
        "http://[::1]:3000.evil.example",
        "http://[::1]:30000",
        "http://[0::1]:3000",
        "null",
    ],
)
def test_configured_origins_are_exact(some_origins: Service, origin: str) -> None:
    with some_origins.client() as client:
        assert_not_allowed(client.get("/api/v1/tasks", headers={"Origin": origin}))
