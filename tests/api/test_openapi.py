"""The OpenAPI document and the docs page: valid, complete, true of the real answers, and without outside hosts."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin

import httpx
import pytest
from jsonschema.protocols import Validator
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from taskapi.cursors import position_cursor
from taskapi.schemas.fields import DESCRIPTION_LENGTH, TITLE_LENGTH
from taskapi.web.access import PROBES
from tests.api.test_envelope import OVERSIZED, QUERIES, ROUTES, body_of
from tests.support import raw
from tests.support.envelope import envelope_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

OPERATIONS = [(path, method.lower()) for path, methods in ROUTES.items() for method in sorted(methods)]

WRITES = {"Idempotency-Key", "Change-Set"}


class Said(NamedTuple):
    """What the document says of an operation: its parameters, the statuses beside 200, 422 and 500, and the headers of
    its success."""

    parameters: set[str] = set()
    statuses: set[str] = set()
    headers: set[str] = set()


RANGES = {f"{name}_{end}" for name in ("created", "updated", "completed") for end in ("from", "before")}

SOMETIMES = {"Idempotency-Replayed", "Link", "X-Total-Count"}
"""Headers that an answer has only where there is something to say."""

CHANGE = Said({*WRITES, "If-Match"}, {"404", "412"}, {"ETag", "Content-Location", "Idempotency-Replayed"})
UNDO = CHANGE._replace(statuses={*CHANGE.statuses, "400", "409", "413", "415"})

SAID = {
    ("/api/v1/tasks", "get"): Said(
        {"is_completed", "text", "limit", "cursor", "count", "as_of", "If-None-Match", *RANGES},
        {"304"},
        {"ETag", "Link", "X-Total-Count"},
    ),
    ("/api/v1/tasks", "post"): Said(
        WRITES, {"201", "400", "413", "415"}, {"Location", "Content-Location", "ETag", "Idempotency-Replayed"}
    ),
    ("/api/v1/tasks/{id}", "get"): Said({"as_of", "If-None-Match"}, {"304", "404"}, {"ETag"}),
    ("/api/v1/tasks/{id}/versions", "get"): Said({"after", "limit"}, {"404"}),
    ("/api/v1/tasks/{id}", "put"): CHANGE._replace(statuses={*CHANGE.statuses, "400", "413", "415"}),
    ("/api/v1/tasks/{id}", "delete"): CHANGE._replace(headers={"ETag", "Idempotency-Replayed"}),
    ("/api/v1/tasks/{id}/complete", "patch"): CHANGE,
    ("/api/v1/tasks/{id}/incomplete", "patch"): CHANGE,
    ("/api/v1/history", "get"): Said(
        {"page", "limit", "offset", "task_id", "action_type", "cursor"}
        | {"actor", "request_id", "change_set", "from", "before"},
        headers={"Link"},
    ),
    ("/api/v1/tasks/{id}/undo", "post"): UNDO,
    ("/api/v1/tasks/{id}/restore", "post"): UNDO,
    ("/api/v1/undo", "post"): Said(WRITES, UNDO.statuses - {"412"}, {"Idempotency-Replayed"}),
    ("/api/v1/tasks/bulk", "post"): Said(
        WRITES, {"200", "201", "400", "404", "412", "413", "415"}, {"Idempotency-Replayed"}
    ),
    ("/api/v1/changes", "get"): Said({"after", "limit", "wait", "Last-Event-ID"}, {"410"}),
    ("/api/v1/stats/weekly", "get"): Said({"date", "tz", "week_start", "as_of"}),
    ("/api/v1/stats/daily", "get"): Said({"from", "before", "tz"}),
    ("/api/v1/health", "get"): Said(),
    ("/api/v1/health/ready", "get"): Said(),
}

TAKES_BODY = {pair for pair, said in SAID.items() if "415" in said.statuses}

DOCS_PATHS = ["/api/docs", "/api/docs/redoc.js", "/api/docs/redoc.standalone.js", "/api/openapi.json"]


def closed(value: Any) -> Any:
    """A document whose objects have no key that it does not name. Clients must allow for more; our tests do not."""
    if isinstance(value, list):
        return [closed(part) for part in value]
    if not isinstance(value, dict):
        return value
    closing = {"additionalProperties": False} if value.get("type") == "object" else {}
    return {**{name: closed(part) for name, part in value.items()}, **closing}


class Document:
    """The document, and its schemas applied to what is said to fit them."""

    def __init__(self, contents: dict[str, Any]) -> None:
        self.contents = contents
        self.registry: Any = Registry().with_resource("urn:document", DRAFT202012.create_resource(closed(contents)))

    def operation(self, path: str, method: str) -> dict[str, Any]:
        operation: dict[str, Any] = self.contents["paths"][path.replace("{id}", "{task_id}")][method]
        return operation

    def check(self, value: Any, schema: dict[str, Any]) -> None:
        """`value` fits `schema`, formats such as date-time included."""
        absolute = {"$ref": f"urn:document{schema['$ref']}"} if "$ref" in schema else schema
        validator: Validator = OAS31Validator(absolute, registry=self.registry, format_checker=oas31_format_checker)
        validator.validate(value)


@pytest.fixture(scope="module")
def document(kept_client: httpx.Client, service: Service) -> Document:
    answer = kept_client.get(f"{service.url}/api/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return Document(answer.json())


def json_of(part: dict[str, Any]) -> dict[str, Any]:
    """What is said about the JSON of a body or an answer."""
    assert [kind for kind in part["content"] if kind != "text/event-stream"] == ["application/json"]
    content: dict[str, Any] = part["content"]["application/json"]
    return content


def test_it_is_openapi_3_1(document: Document) -> None:
    assert document.contents["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document.contents).validate()


def test_it_has_the_contracts_operations_and_no_others(document: Document) -> None:
    found = [
        (path.replace("{task_id}", "{id}"), method)
        for path, operations in document.contents["paths"].items()
        for method in operations
        if method != "parameters"
    ]
    assert sorted(found) == sorted(OPERATIONS)


def test_operation_ids_are_unique_names(document: Document) -> None:
    names = [document.operation(*pair)["operationId"] for pair in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_every_operation_has_its_line() -> None:
    assert sorted(SAID) == sorted(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
class TestOperation:
    def test_it_has_a_summary_and_a_tag(self, document: Document, path: str, method: str) -> None:
        operation = document.operation(path, method)
        assert operation["summary"].strip()
        assert operation["tags"]

    def test_it_has_its_success_and_every_error_answer(self, document: Document, path: str, method: str) -> None:
        said = SAID[path, method].statuses
        expected = {"422", "500", *said} | ({"200"} if "201" not in said else set())
        if path != "/api/v1/health":
            expected |= {"503"}
        if path not in PROBES:
            expected |= {"401"}
        assert set(document.operation(path, method)["responses"]) == expected

    def test_its_examples_fit_their_schemas(self, document: Document, path: str, method: str) -> None:
        operation = document.operation(path, method)
        parts = [json_of(answer) for status, answer in operation["responses"].items() if status != "304"]
        if (path, method) in TAKES_BODY:
            assert operation["requestBody"]["required"] is (not path.endswith("/restore"))
            parts.append(json_of(operation["requestBody"]))
        else:
            assert "requestBody" not in operation
        for part in parts:
            for example in part.get("examples", {"only": {"value": part.get("example")}}).values():
                document.check(example["value"], part["schema"])

    def test_its_headers_and_parameters_are_described(self, document: Document, path: str, method: str) -> None:
        operation = document.operation(path, method)
        parameters = {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
        assert set(parameters) == SAID[path, method].parameters
        assert all(parameter["description"] for parameter in parameters.values())
        if "503" in operation["responses"]:
            assert "Retry-After" in operation["responses"]["503"]["headers"]
        if "401" in operation["responses"]:
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
        success = operation["responses"]["201" if "201" in operation["responses"] else "200"]
        assert set(success.get("headers", {})) == SAID[path, method].headers


Create = Callable[..., dict[str, Any]]


def undo_in_vain(client: httpx.Client, create: Create) -> dict[str, Any]:
    """A change that others have changed since."""
    task_id = create()["id"]
    for title in ("Buy milk", "Buy bread", "Buy both"):
        client.put(f"/tasks/{task_id}", json={"title": title})
    return {"task_id": task_id, "version": 2}


@pytest.fixture
def answers(client: httpx.Client, create: Create, service: Service) -> Iterator[tuple[str, str, httpx.Response]]:
    """Real answers of every operation, good and bad ones."""

    def every() -> Iterator[tuple[str, str, httpx.Response]]:
        for path, method in OPERATIONS:
            for task_id in (create(description="x")["id"], NOBODY, "nonsense"):
                target = path.format(id=task_id)
                body = body_of(method.upper(), path, task_id)
                yield path, method, client.request(method, service.url + target, headers={"If-Match": '"9"'}, **body)
                yield path, method, client.request(method, service.url + target, headers={"If-None-Match": "*"}, **body)
                yield path, method, client.request(method, service.url + target + QUERIES.get(path, ""), **body)
                yield path, method, client.request(method, f"{service.url}{target}?x=1", **body)
        conflict = undo_in_vain(client, create)
        for path, method in (pair for pair, said in SAID.items() if "409" in said.statuses):
            if not path.endswith("/restore"):
                target = path.format(id=conflict["task_id"])
                body = conflict if target == path else {"version": conflict["version"]}
                yield path, method, client.request(method, service.url + target, json=body)
        yield (
            "/api/v1/changes",
            "get",
            client.get("/changes", params={"after": position_cursor(f"{2**62 + 3}:{2**62 + 3}:/")}),
        )
        for path, method in TAKES_BODY:
            target = path.format(id=NOBODY)
            yield path, method, client.request(method, service.url + target, json={"title": 5})
            yield path, method, client.request(method, service.url + target, content="{", headers=raw.JSON)
            yield path, method, client.request(method, service.url + target, content="{}")
            yield path, method, raw.send(service.port, raw.sized(method.upper(), target, OVERSIZED))
        path, task_id = "/api/v1/tasks/bulk", create()["id"]
        for form in (
            {"update": [{"id": task_id, "version": 9, "title": "x"}]},
            {"update": [{"id": task_id, "version": 1, "description": None}]},
            {"complete": [task_id]},
            {"incomplete": [{"id": task_id}]},
            {"delete": [task_id, NOBODY]},
            {"delete": [task_id]},
        ):
            yield path, "post", client.post(service.url + path, json=form)

    return every()


def test_real_answers_are_as_documented(
    document: Document, client: httpx.Client, create: Create, answers: Iterator[tuple[str, str, httpx.Response]]
) -> None:
    data = create(title="🦀" * TITLE_LENGTH, description="🦀" * DESCRIPTION_LENGTH)
    client.patch(f"/tasks/{data['id']}/complete")
    seen = set()
    for path, method, answer in answers:
        responses = document.operation(path, method)["responses"]
        assert str(answer.status_code) in responses, f"{method} {path}: {answer.text}"
        part = responses[str(answer.status_code)]
        if answer.status_code == 304:
            assert answer.content == b""
        else:
            document.check(envelope_of(answer), json_of(part)["schema"])
        sometimes = {*SOMETIMES, *([] if answer.content and answer.json()["data"] else ["Content-Location"])}
        for name in part.get("headers", {}).keys() - sometimes:
            assert name in answer.headers
        seen.add((path, method, str(answer.status_code)))
    documented = {
        (path, method, status)
        for path, method in OPERATIONS
        for status in document.operation(path, method)["responses"]
    }
    # A restoration conflicts only with rules that were made since.
    unseen = documented - seen - {("/api/v1/tasks/{id}/restore", "post", "409")}
    assert {status for *_, status in unseen} <= {"401", "500", "503"}


@pytest.mark.parametrize(
    "wrong", [{}, {"title": ""}, {"title": " "}, {"title": "x" * (TITLE_LENGTH + 1)}, {"title": "x", "y": 1}, []]
)
def test_the_schema_of_a_body_refuses_what_the_service_refuses(
    document: Document, client: httpx.Client, wrong: Any
) -> None:
    schema = json_of(document.operation("/api/v1/tasks", "post")["requestBody"])["schema"]
    document.check({"title": "x", "description": None}, schema)
    assert client.post("/tasks", json=wrong).status_code == 422
    with pytest.raises(Exception, match=r".") as refused:
        document.check(wrong, schema)
    assert type(refused.value).__name__ == "ValidationError"


def test_the_docs_page_asks_no_outside_host(client: httpx.Client, service: Service) -> None:
    page = client.get(f"{service.url}/api/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    addresses = re.findall(r"""\b(?:src|href)=["']([^"']*)""", page.text) + re.findall(r"url\(([^)]*)", page.text)
    own = [address for address in addresses if not address.startswith("data:")]
    assert own
    for address in own:
        url = urljoin(f"{service.url}/api/docs", address)
        assert url.startswith(f"{service.url}/"), f"{address} is not a path of this service"
        assert client.get(url).status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert "'unsafe-eval'" not in policy


@pytest.mark.parametrize("path", DOCS_PATHS)
def test_what_the_page_needs_is_served_and_stays_in_caches_until_it_changes(
    client: httpx.Client, service: Service, path: str
) -> None:
    answer = client.get(service.url + path)
    assert answer.status_code == 200
    assert len(answer.content) > 300
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
