"""The docs page in a real browser, with the network refused."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.test_envelope import ROUTES
from tests.support.chromium import Page
from tests.support.service import Service
from tests.support.waiting import wait_until

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
    assert len(operations) == sum(map(len, ROUTES.values()))
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


MENU = "[...document.querySelectorAll('.menu-content label')].map(label => label.innerText)"

FOUND = "[...document.querySelectorAll('[data-role=\"search:results\"] li')].map(found => found.innerText)"

WIDER_THAN_THE_PAGE = """
[...document.querySelectorAll("h1, h2, h3, p, ul, table, thead, tbody, tr, td, th")]
    .filter(part => !part.closest(".redoc-json") && part.getBoundingClientRect().right > innerWidth + 1)
    .map(part => part.innerText.slice(0, 60))
"""
"""Samples of JSON have a scroll bar of their own."""


def test_the_menu_and_the_search_find_how_to_retry_safely(page: Page, service: Service) -> None:
    page.open(f"{service.url}/api/docs")
    page.wait_for_text("Tell whether the service can serve")
    menu = page.evaluate(MENU)
    assert {"Answers", "Statuses and what to do", "Popup codes", "Safe retries", "Tasks", "History"} <= set(menu)
    page.evaluate("document.querySelector('input').focus()")
    page.call("Input.insertText", text="Safe retries")
    wait_until(lambda: page.evaluate(FOUND), "the search has results")
    assert "Safe retries" in page.evaluate(FOUND)[0]
    assert page.errors == []


def test_the_samples_call_the_service_that_the_page_is_from(page: Page, service: Service) -> None:
    page.open(f"{service.url}/api/docs")
    text = page.wait_for_text("Tell whether the service can serve")
    assert f"curl -X POST {service.url}/api/v1/tasks" in text
    assert "localhost:8000" not in text


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_cut_off(page: Page, service: Service, width: int) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 800)
    page.open(f"{service.url}/api/docs")
    page.wait_for_text("Tell whether the service can serve")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelectorAll('table tr').length") > 15
    assert page.evaluate(WIDER_THAN_THE_PAGE) == []
    page.screenshot(SCREENSHOT.with_stem(f"docs-{width}"))


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
