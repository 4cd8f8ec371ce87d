"""What an operator sees of a request: its line in the log, in both shapes, and the figures at /metrics."""

import json
import re
from typing import Any

import pytest

from tests.conftest import StartService
from tests.support import raw
from tests.support.envelope import data_of, error_of
from tests.support.service import Service
from tests.support.waiting import wait_until

LINE = {"time", "level", "logger", "request_id", "method", "route", "path", "status", "duration_ms", "database_ms"}


def request_lines(service: Service) -> list[dict[str, Any]]:
    """The lines of requests, in production's shape."""
    lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "taskapi.request"]


def test_production_logs_a_json_object_for_each_request(start_service: StartService) -> None:
    service = start_service(APP_ENV="production")

    def lines() -> list[dict[str, Any]]:
        # Not that of the start's own look at /health, which may come late.
        return [
            line for line in request_lines(service) if line["route"] != "/api/v1/health" or line["request_id"] == "ours"
        ]

    with service.client(base_url=f"{service.url}/api/v1") as client:
        task = data_of(client.post("/tasks", json={"title": "one"}), 201, "TASK_CREATED")
        data_of(client.get(f"/tasks/{task['id']}", headers={"X-Request-Id": "from-the-balancer_1"}))
        error_of(client.get("/nowhere/ü"), 404)
        data_of(client.get("/health", headers={"X-Request-Id": "ours"}))
    wait_until(lambda: len(lines()) >= 4, "four lines are there")

    created, read, lost, health = lines()
    for line in (created, read, lost, health):
        assert set(line) == LINE
        assert line["level"] == "INFO"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["duration_ms"] >= line["database_ms"] >= 0
    assert (created["method"], created["route"], created["status"]) == ("POST", "/api/v1/tasks", 201)
    assert created["database_ms"] > 0
    assert re.fullmatch("[0-9a-f]{32}", created["request_id"])
    assert (read["request_id"], read["path"]) == ("from-the-balancer_1", f"/api/v1/tasks/{task['id']}")
    assert read["route"] == "/api/v1/tasks/<task_id:task_id>"
    assert (lost["status"], lost["route"], lost["path"]) == (404, None, "/api/v1/nowhere/ü")
    assert health["database_ms"] == 0


def test_development_logs_a_line_to_be_read(start_service: StartService) -> None:
    service = start_service()
    with service.client() as client:
        request_id = client.get("/api/v1/tasks").headers["X-Request-Id"]
    pattern = r"\d\d:\d\d:\d\d INFO    GET /api/v1/tasks 200  [\d.]+ ms \(database [\d.]+\)  " + request_id
    wait_until(lambda: re.search(pattern, service.log) is not None, "the line is there")


@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_path_cannot_forge_a_line(start_service: StartService, environment: str) -> None:
    service = start_service(APP_ENV=environment)
    raw.send(service.port, raw.request("GET", "/x%0a12:00:00%20INFO%20forged%0d%0aforged%e2%80%a8forged"))
    wait_until(lambda: "forged" in service.log, "the line is there")
    assert not any(line.startswith(("12:00:00", "forged")) for line in service.log.split("\n"))


def test_less_can_be_logged(start_service: StartService) -> None:
    service = start_service(LOG_LEVEL="WARNING")
    with service.client() as client:
        client.get("/api/v1/tasks")
    assert "/api/v1/tasks" not in re.sub("(?m)^taskapi is ready.*$", "", service.log)


def test_metrics_are_behind_their_setting(service: Service) -> None:
    with service.client() as client:
        error_of(client.get("/metrics"), 404)


def test_metrics_are_the_same_whichever_worker_is_asked(start_service: StartService) -> None:
    service = start_service(METRICS="true", WEB_CONCURRENCY="2")
    number = 40
    for _ in range(number):
        # A connection of its own, so that both workers get some.
        with service.client(base_url=f"{service.url}/api/v1") as client:
            data_of(client.get("/tasks"))
    for _ in range(10):
        with service.client() as client:
            text = client.get("/metrics").text
        assert f'taskapi_requests_total{{method="GET",route="/api/v1/tasks",status="200"}} {number}.0' in text
        assert f'taskapi_request_seconds_count{{method="GET",route="/api/v1/tasks"}} {number}.0' in text
        assert f'taskapi_database_seconds_bucket{{le="+Inf",method="GET",route="/api/v1/tasks"}} {number}.0' in text


def test_metrics_outlive_a_reload(start_service: StartService) -> None:
    service = start_service(METRICS="true")
    with service.client() as client:
        data_of(client.get("/api/v1/tasks"))
    service.hup()
    with service.client() as client:
        data_of(client.get("/api/v1/tasks"))
        assert 'route="/api/v1/tasks",status="200"} 2.0' in client.get("/metrics").text


def test_labels_come_from_our_own_routes(start_service: StartService) -> None:
    service = start_service(METRICS="true")
    with service.client() as client:
        for number in range(5):
            client.get(f"/made/up/{number}")
        client.request("BREW", "/api/v1/tasks")
        text = client.get("/metrics").text
    assert "made" not in text
    assert "BREW" not in text
    assert 'taskapi_requests_total{method="GET",route="none",status="404"} 5.0' in text
