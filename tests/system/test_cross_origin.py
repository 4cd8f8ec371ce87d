"""CORS as a real browser understands it: the frontend's page may call the API, another page may not."""

from collections.abc import Callable

from tests.support.chromium import Page
from tests.support.service import Service

StartService = Callable[..., Service]

CALL = """
(async () => {
    const created = await fetch("URL/api/v1/tasks", {
        method: "POST",
        credentials: "include",
        headers: {"Content-Type": "application/json", "Idempotency-Key": "from a browser"},
        body: JSON.stringify({title: "🦀"}),
    });
    const answer = await created.json();
    const completed = await fetch("URL" + created.headers.get("Location") + "/complete", {method: "PATCH"});
    return [answer.data.title, created.headers.get("X-Request-Id").length, (await completed.json()).popup];
})()
"""

REFUSED = "fetch('URL/api/v1/tasks').then(() => 'read', error => error.name)"


def test_a_page_of_an_allowed_origin_may_call_the_api(
    page: Page, service: Service, start_service: StartService
) -> None:
    api = start_service(CORS_ORIGINS=service.url)
    page.open(f"{service.url}/api/v1/health")
    page.wait_for_text("healthy")
    assert page.evaluate(CALL.replace("URL", api.url)) == ["🦀", 32, "TASK_COMPLETED"]


def test_a_page_of_another_origin_may_not(page: Page, service: Service, start_service: StartService) -> None:
    api = start_service()
    page.open(f"{service.url}/api/v1/health")
    page.wait_for_text("healthy")
    assert page.evaluate(REFUSED.replace("URL", api.url)) == "TypeError"
    assert page.evaluate(REFUSED.replace("URL", service.url)) == "read"
