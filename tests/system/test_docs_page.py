"""The docs page in a real browser, with the network refused."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.chromium import Page
from tests.support.service import Service

SCREENSHOT = Path("/tmp/docs.png")
"""For a person to look at."""


def test_the_docs_page_shows_every_operation_and_asks_nobody_else(page: Page, service: Service) -> None:
    with service.client() as client:
        paths = client.get("/api/openapi.json").json()["paths"]
    page.open(f"{service.url}/api/docs")
    text = page.wait_for_text("Tell whether the service can serve")
    page.screenshot(SCREENSHOT)

    operations = [
        operation for methods in paths.values() for method, operation in methods.items() if method != "parameters"
    ]
    assert len(operations) == 11
    for operation in operations:
        assert operation["summary"] in text
    for path in paths:
        assert path in text
    assert "TASK_CREATED" in text
    assert "Something went wrong..." not in text

    # Requests of a blob or of data stay in the browser.
    asked = [urlsplit(url) for url in page.requested if url.startswith(("http", "ws", "ftp"))]
    assert {url.netloc for url in asked} == {f"127.0.0.1:{service.port}"}
    assert {url.path for url in asked} >= {"/api/docs", "/api/openapi.json"}
    assert page.errors == []


def test_the_docs_page_below_a_prefix(page: Page, start_service: Callable[..., Service]) -> None:
    service = start_service(SCRIPT_NAME="/team/tasks")
    page.open(f"{service.url}/")
    page.wait_for_text("Create a task")
    asked = [urlsplit(url) for url in page.requested if url.startswith(("http", "ws", "ftp"))]
    assert {url.path for url in asked} >= {"/team/tasks/api/docs", "/team/tasks/api/openapi.json"}
    assert all(url.path.startswith("/team/tasks/") for url in asked)
    assert page.errors == []


def test_the_root_leads_a_browser_to_the_docs(page: Page, service: Service) -> None:
    page.open(f"{service.url}/")
    page.wait_for_text("Create a task")
    assert page.evaluate("location.pathname") == "/api/docs"
    assert page.errors == []
