"""What goes through a proxy: request ids, prefixes, long lines and large bodies, with TLS, by HTTP/1.1 and HTTP/2."""

import shutil
import subprocess
from typing import Any

import httpx
import pytest

from taskapi.settings import Settings
from tests.proxies.conftest import StartProxy
from tests.proxies.reverse_proxy import ReverseProxy
from tests.support.embedded import IDENTITIES
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.waiting import wait_until

CHECKED = {
    "nginx": ["syntax is ok", "test is successful"],
    "haproxy": ["Configuration file is valid"],
}

PREFIXED = {
    "nginx": {"location / {": "location /tasks/ {", "location = /metrics {": "location = /tasks/metrics {"},
    "haproxy": {
        "uri /api/v1/health": "uri /tasks/api/v1/health",
        "if { path /metrics }": "if { path /tasks/metrics }",
    },
}
"""What docs/deployment.md says about a prefix."""


@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_file_is_accepted_without_a_warning(
    kind: str, identity: str, instances: list[Service], start_proxy: StartProxy
) -> None:
    proxy = start_proxy(kind, instances[0].port, instances[1].port, identity=identity)
    lines = proxy.check().strip().splitlines()
    assert len(lines) == len(CHECKED[kind]), lines
    for line, end in zip(lines, CHECKED[kind], strict=True):
        assert line.endswith(end)
    assert "warn" not in proxy.output.lower(), proxy.output
    assert proxy.client().get("/api/v1/health/ready").status_code == 200


def test_http_is_led_to_https(proxy: ReverseProxy) -> None:
    answer = httpx.post(f"http://127.0.0.1:{proxy.http_port}/api/v1/tasks?limit=1", trust_env=False)
    assert answer.status_code == 308
    location = answer.headers["Location"]
    assert location.startswith("https://127.0.0.1")
    assert location.endswith("/api/v1/tasks?limit=1")


def test_the_metrics_stay_inside(proxy: ReverseProxy) -> None:
    assert proxy.client().get("/metrics").status_code == 404


def test_a_request_id_goes_both_ways(proxy: ReverseProxy, instances: list[Service]) -> None:
    client = proxy.client()
    for given in ("from-the_client.1", None, "not one of ours: {}"):
        headers = {"X-Request-Id": given} if given else {}
        answer = client.post("/api/v1/tasks", json={"title": "named"}, headers=headers)
        request_id = answer.headers["X-Request-Id"]
        assert (request_id == given) == (given == "from-the_client.1")
        (entry,) = client.get("/api/v1/history", params={"limit": 1}).json()["data"]["items"]
        assert entry["request_id"] == request_id
        wait_until(lambda: request_id in proxy.log, "it is in the proxy's log")  # noqa: B023
        wait_until(lambda: any(request_id in service.log for service in instances), "and in the service's")  # noqa: B023


def test_both_versions_of_http(proxy: ReverseProxy) -> None:
    for version in ("1.1", "2"):
        assert curl(proxy, f"--http{version}", "-w", "%{http_version}", "-o", "/dev/null", "/api/v1/tasks") == version


def test_links_keep_a_prefix(kind: str, start_service: Any, new_database: Any, start_proxy: StartProxy) -> None:
    database = new_database()
    one, two = (start_service(database, SCRIPT_NAME="/tasks", METRICS="true") for _ in range(2))
    proxy = start_proxy(kind, one.port, two.port, changes=PREFIXED[kind])
    client = proxy.client()
    wait_until(lambda: client.get("/tasks/api/v1/health/ready").status_code == 200, "an instance is ready")
    for title in ("one", "two"):
        created = client.post("/tasks/api/v1/tasks", json={"title": title})
        assert created.headers["Location"].startswith("/tasks/api/v1/tasks/")
    first = client.get("/tasks/api/v1/tasks", params={"limit": 1})
    links = first.headers["Link"]
    assert links.count("<") == links.count("</tasks/api/v1/") >= 1
    assert client.get(first.links["monitor"]["url"]).status_code == 200
    assert 'src="docs/redoc.js"' in client.get("/tasks/api/docs").text
    assert client.get("/tasks/api/docs/redoc.js").status_code == 200
    assert client.get("/tasks/metrics").status_code == 404
    assert client.get("/api/v1/tasks").status_code in (404, 503)


def test_the_longest_line_passes_and_the_service_answers_for_longer_ones(proxy: ReverseProxy) -> None:
    client = proxy.client()
    around = len("GET /api/v1/tasks?text= HTTP/1.1")
    longest = client.get("/api/v1/health", params={"x": "a" * (8190 - len("GET /api/v1/health?x= HTTP/1.1"))})
    assert longest.status_code != 414, longest.text
    longer = client.get(f"/api/v1/tasks?text={'a' * (8191 - around)}")
    assert longer.status_code == 414
    assert longer.json()["success"] is False


def test_the_largest_body_passes_and_the_service_answers_for_larger_ones(kind: str, proxy: ReverseProxy) -> None:
    client = proxy.client()
    most = Settings().max_body_bytes
    body = b'{"title": "large"}'
    headers = {"Content-Type": "application/json"}
    fits = client.post("/api/v1/tasks", content=body + b" " * (most - len(body)), headers=headers)
    assert fits.status_code == 201
    larger = client.post("/api/v1/tasks", content=body + b" " * (most - len(body) + 1), headers=headers)
    assert larger.status_code == 413
    assert larger.json()["success"] is False
    # Far above, nginx answers by itself: not in the envelope.
    largest = client.post("/api/v1/tasks", content=body + b" " * 3_000_000, headers=headers)
    assert largest.status_code == 413
    assert (largest.headers["Content-Type"] == "text/html") == (kind == "nginx")


def test_too_many_streams_are_refused_in_the_envelope(
    kind: str, start_service: Any, database_url: str, start_proxy: StartProxy, sql: Sql
) -> None:
    """An answer of the service's own that is an error comes through as it is."""
    service = start_service(database_url, MAX_STREAMS="0")
    proxy = start_proxy(kind, service.port, service.port)
    answer = proxy.client().get("/api/v1/changes", params={"wait": 1})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json()["success"] is False


def curl(proxy: ReverseProxy, *arguments: str) -> str:
    """What curl prints for the path, which is the last argument."""
    assert shutil.which("curl"), "curl is not installed (on Debian: apt-get install curl)"
    *options, path = arguments
    command = ["curl", "--silent", "--show-error", "--cacert", str(proxy.certificate), *options, f"{proxy.url}{path}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
