"""Who may ask: bearer tokens, host names, and the headers that protect a browser."""

import os
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from taskapi.access import CHALLENGE
from taskapi.errors import NoAccess
from taskapi.web.access import PROBES
from tests.api.test_envelope import ROUTES
from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

TOKENS = ["first-token", "zweites/Token+=="]
REQUESTS = [(method, path.format(id=NOBODY)) for path, methods in ROUTES.items() for method in sorted(methods)]
GUARDED = [(method, path) for method, path in REQUESTS if path not in PROBES]


@pytest.fixture(scope="module")
def guarded(start_shared: Callable[..., Service]) -> Iterator[Service]:
    """A service as in production: with two tokens, for two host names, and not allowed to change the schema."""
    service = start_shared(
        APP_ENV="production",
        AUTO_MIGRATE="false",
        API_TOKENS=" , ".join(TOKENS),
        TRUSTED_HOSTS="127.0.0.1, Tasks.Example.com, .tasks.example.org., ::1",
    )
    yield service
    assert "Traceback" not in service.log
    assert not [token for token in TOKENS if token in service.log]


@pytest.fixture
def stranger(guarded: Service) -> Iterator[httpx.Client]:
    """A client without a token."""
    with guarded.client() as client:
        yield client


def assert_refused(answer: httpx.Response) -> None:
    assert error_of(answer, 401) == NoAccess.sentence
    assert answer.headers["WWW-Authenticate"] == CHALLENGE["WWW-Authenticate"]


@pytest.mark.parametrize(("method", "path"), [*GUARDED, ("GET", "/api/v1/nothing"), ("DELETE", "/api/v1/tasks")])
def test_everything_needs_a_token(stranger: httpx.Client, method: str, path: str) -> None:
    assert_refused(stranger.request(method, path))
    assert_refused(stranger.request(method, f"{path}?x=1", content=b"nonsense"))


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_each_token_opens(stranger: httpx.Client, token: str, method: str, path: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = stranger.request(method, path, headers={"Authorization": f"{scheme} {token}"})
        assert answer.status_code != 401
        envelope_of(answer)


def test_two_tokens_in_two_headers_are_none(stranger: httpx.Client) -> None:
    for tokens in (TOKENS, [TOKENS[0], TOKENS[0]], [TOKENS[0], "wrong"], ["wrong", TOKENS[0]]):
        headers = [("Authorization", f"Bearer {token}") for token in tokens]
        assert_refused(stranger.get("/api/v1/tasks", headers=headers))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKENS[0]}x",
        f"Bearer {TOKENS[0][:-1]}",
        f"Bearer {TOKENS[0].upper()}",
        f"Bearer {TOKENS[0]} {TOKENS[1]}",
        f"Bearer {TOKENS[0]},{TOKENS[1]}",
        f"Bearer{TOKENS[0]}",
        f"Basic {TOKENS[0]}",
        f"Token {TOKENS[0]}",
        TOKENS[0],
        "Basic Zmlyc3QtdG9rZW46",
        "Bearer ümläut",
        "Bearer *",
        f"Bearer {'x' * 5000}",
    ],
)
def test_a_wrong_token_does_not(guarded: Service, authorization: str) -> None:
    for method, path in (("GET", "/api/v1/tasks"), ("POST", "/api/v1/tasks")):
        headers = {"Host": "127.0.0.1", "Authorization": authorization}
        assert_refused(raw.send(guarded.port, raw.sized(method, path, b"", headers)))


@pytest.mark.parametrize(
    "target",
    [
        "//api/v1/tasks",
        "///api/v1/tasks",
        "/api/v1/tasks/",
        "/api//v1/tasks",
        "/api/v1//tasks",
        "/api/./v1/tasks",
        "/x/../api/v1/tasks",
        "/api/v1/health/../tasks",
        "/%61pi/v1/tasks",
        "/api%2Fv1%2Ftasks",
        "/API/v1/tasks",
        "/api/v1/tasks;x",
        "/api/v1/tasks%20",
        "/api/v1/health/",
        "http://127.0.0.1/api/v1/tasks",
        "/api/v1/tasks?token=first-token",
        "/api/v1/tasks#/api/v1/health",
    ],
)
def test_no_spelling_of_the_path_leads_around_it(guarded: Service, target: str) -> None:
    answer = raw.send(guarded.port, raw.request("GET", target, {"Host": "127.0.0.1"}))
    assert answer.status_code in (401, 404)
    envelope_of(answer)


@pytest.mark.parametrize("path", [*PROBES, "/api/docs", "/api/docs/redoc.js", "/api/openapi.json"])
def test_health_and_the_docs_are_open(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code == 200
    assert stranger.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 200


def test_a_preflight_needs_no_token(stranger: httpx.Client) -> None:
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = stranger.options("/api/v1/tasks", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"


def test_the_frontend_may_read_a_401(stranger: httpx.Client) -> None:
    answer = stranger.get("/api/v1/tasks", headers={"Origin": "http://localhost:3000"})
    assert_refused(answer)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


@pytest.mark.parametrize("path", PROBES)
def test_another_method_of_a_probes_path_is_405_without_a_token(stranger: httpx.Client, path: str) -> None:
    error_of(stranger.post(path), 405)


def test_the_document_says_which_paths_need_no_token(stranger: httpx.Client) -> None:
    for path, operations in stranger.get("/api/openapi.json").json()["paths"].items():
        for method in operations.keys() - {"parameters"}:
            needs = path not in PROBES
            assert operations[method]["security"] == ([{}, {"bearer": []}] if needs else [{}])
            assert ("401" in operations[method]["responses"]) == needs


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:9999",
        "tasks.example.com",
        "tasks.example.com:443",
        "tasks.example.com:",
        "TASKS.example.COM",
        "tasks.example.com.",
        "tasks.example.com.:443",
        "tasks.example.org",
        "a.b.Tasks.example.org.",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]",
    ],
)
def test_a_trusted_host_is_served(guarded: Service, host: str) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {TOKENS[0]}"}
    data_of(raw.send(guarded.port, raw.request("GET", "/api/v1/tasks", headers)))


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("host", ["10.0.0.7:8000", "evil.example", "[fd00::2]", "a b", ""])
def test_probes_are_served_under_any_host(guarded: Service, path: str, host: str) -> None:
    data_of(raw.send(guarded.port, raw.request("GET", path, {"Host": host})))
    data_of(raw.send(guarded.port, f"GET {path} HTTP/1.0\r\n\r\n".encode()))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost",
        "127.0.0.1.evil.example",
        "evil.tasks.example.com",
        "tasks.example.com.evil.example",
        "127.0.0.1@evil.example",
        "tasks.example.com..",
        "xtasks.example.org",
        "tasks.example.org.evil.example",
        "[::2]",
        "::1",
        "[::1",
        "tasks.example.com:x",
        "tasks.example.com:65536",
        "tasks_example.com",
        "tasks.example.com, evil.example",
        "a b",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/docs", "/", "/nothing"])
def test_another_host_is_400(guarded: Service, host: str, path: str) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {TOKENS[0]}", "X-Forwarded-Host": "tasks.example.com"}
    error_of(raw.send(guarded.port, raw.request("GET", path, headers)), 400)


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/redoc.js", "/api/openapi.json", "/"])
def test_the_docs_may_be_kept_but_not_used_unasked(client: httpx.Client, service: Service, path: str) -> None:
    headers = client.get(service.url + path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "target",
    [
        *("/api/v1/tasks", "/api/v1/nothing", "/nothing", "/api/docs/nothing", "/api", "/%00"),
        *("//api/v1/tasks", "/api//v1/tasks", "/API/v1/tasks", "/%61pi/v1/tasks", "/x/../api/v1/tasks"),
        *("http://x/api/v1/tasks", "http://x//api/v1/tasks", "/api/v1/tasks/x", "*", f"/{'x' * 10_000}"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "BREW"])
def test_no_other_answer_is_stored(client: httpx.Client, service: Service, method: str, target: str) -> None:
    headers = raw.send(service.port, raw.request(method, target)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    # Tasks that the client may keep for its user, and must ask for again each time.
    is_list = method in ("GET", "HEAD") and re.fullmatch(r"(http://x)?/+(api|%61pi)/v1/tasks", target)
    kept = is_list and "ETag" in headers
    assert headers["Cache-Control"] == ("private, no-cache" if kept else "no-store")


def test_the_docs_may_not_be_framed(client: httpx.Client, service: Service) -> None:
    policy = client.get(f"{service.url}/api/docs").headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("given", ["abc", "x" * 128, "a.b_c-1"])
def test_a_good_request_id_is_kept(client: httpx.Client, given: str) -> None:
    assert client.get("/health", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a;b", "<script>", "a\tb", "é"])
def test_a_bad_request_id_is_replaced(service: Service, client: httpx.Client, given: str) -> None:
    answer = raw.send(service.port, raw.request("GET", "/api/v1/health", {"X-Request-Id": given}))
    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 32


def test_a_log_line_cannot_be_forged(service: Service, client: httpx.Client) -> None:
    mark = os.urandom(8).hex()
    answer = raw.send(service.port, raw.request("GET", f"/api/v1/tasks/%0A{mark}%0D%0A{mark}"))
    error_of(answer, 422)
    assert not [line for line in service.log.splitlines() if line.startswith(mark)]


@pytest.mark.parametrize(
    "headers",
    [
        {"SCRIPT_NAME": "/api"},
        {"SCRIPT_NAME": "/elsewhere"},
        {"PATH_INFO": "/elsewhere"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-Host": "elsewhere", "X-Forwarded-Proto": "https"},
    ],
    ids=str,
)
def test_no_header_moves_a_path(service: Service, headers: dict[str, str]) -> None:
    """A proxy's rules are about the path that it sees: a header of the client's must not lead to another one."""
    with service.client() as client:
        plain = client.get("/api/v1/health")
    answer = raw.send(service.port, raw.request("GET", "/api/v1/health", headers))
    assert (answer.status_code, answer.content) == (200, plain.content)
    for path in ("/elsewhere/api/v1/health", "/x/metrics"):
        error_of(raw.send(service.port, raw.request("GET", path, {**headers, "SCRIPT_NAME": path[:2]})), 404)
    created = raw.send(service.port, raw.sized("POST", "/api/v1/tasks", b'{"title": "x"}', {**raw.JSON, **headers}))
    assert created.headers["Location"].startswith("/api/v1/tasks/")
