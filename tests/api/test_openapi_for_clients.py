"""The OpenAPI document as generators of clients read it: types that narrow, and rules that mean the same everywhere."""

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from marshmallow import ValidationError

from taskapi.schemas.fields import TITLE_LENGTH, Text
from taskapi.schemas.history import HistoryQuerySchema
from taskapi.settings import Settings
from taskapi.web import examples
from taskapi.web.access import PROBES
from taskapi.web.samples import SERVER
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

ALL_OF_TEXT = {chr(number) for number in [*range(0xD800), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 251)]}
"""Every character of the first plane, and some of the others."""


@pytest.fixture(scope="module")
def document(kept_client: httpx.Client, service: Service) -> dict[str, Any]:
    contents: dict[str, Any] = kept_client.get(f"{service.url}/api/openapi.json").json()
    return contents


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each path, method and operation, with the parameters that its path has for all its operations."""
    for path, methods in document["paths"].items():
        for method in methods.keys() - {"parameters"}:
            operation = methods[method]
            parameters = [*methods.get("parameters", []), *operation.get("parameters", [])]
            yield path, method, {**operation, "parameters": parameters}


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document, itself among them."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from parts_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from parts_of(part)


def schemas_behind(document: dict[str, Any], value: Any) -> dict[str, dict[str, Any]]:
    """The components that something refers to, directly or not."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [value]
    while waiting:
        for part in parts_of(waiting.pop()):
            name = str(part.get("$ref", "")).removeprefix("#/components/schemas/")
            if name and name not in found:
                found[name] = document["components"]["schemas"][name]
                waiting.append(found[name])
    return found


def schema_of(document: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    reference = answer["content"]["application/json"]["schema"]["$ref"]
    schema: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def test_it_says_who_stands_behind_it_and_describes_every_part(document: dict[str, Any]) -> None:
    assert document["info"]["license"]["name"] == "MIT"
    assert document["info"]["contact"]["name"]
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, method, operation in operations_of(document):
        assert operation["description"].strip(), f"{method} {path}"
        assert set(operation["tags"]) <= described
        for parameter in operation["parameters"]:
            assert parameter["description"].strip(), f"{method} {path}: {parameter['name']}"


def test_every_component_is_used(document: dict[str, Any]) -> None:
    assert set(schemas_behind(document, document["paths"])) == set(document["components"]["schemas"])


def test_lists_of_words_are_components(document: dict[str, Any]) -> None:
    lists = {name for name, schema in document["components"]["schemas"].items() if "enum" in schema}
    assert lists == {"ActionType", "FirstDay", "Popup"}
    assert sum("enum" in part for part in parts_of(document)) == 3


def test_no_component_shadows_a_name_of_javascript(document: dict[str, Any]) -> None:
    assert not document["components"]["schemas"].keys() & {"Error", "Date", "Map", "Object", "Promise", "Response"}


def test_success_and_popup_tell_the_answers_apart(document: dict[str, Any]) -> None:
    popups = set()
    for path, method, operation in operations_of(document):
        for status, answer in operation["responses"].items():
            if status == "304":
                continue  # no body
            keys = schema_of(document, answer)["properties"]
            example = answer["content"]["application/json"]["example"]
            assert keys["success"] == {"type": "boolean", "const": status < "400"}
            if path == "/api/v1/undo" and status < "400":
                # null in a dry run.
                keys = {**keys, "popup": keys["popup"]["anyOf"][0]}
            if path == "/api/v1/tasks/bulk" and status == "200":
                # Its request tells the popup.
                assert keys["popup"] == {"$ref": "#/components/schemas/Popup"}
            elif status < "400" and method != "get":
                assert keys["popup"]["allOf"] == [{"$ref": "#/components/schemas/Popup"}]
                assert keys["popup"]["const"] == example["popup"], f"{method} {path}"
                popups.add(example["popup"])
            else:
                assert keys["popup"] == {"type": "null"}
            assert keys["error"]["type"] == ("null" if status < "400" else "string")
    assert popups == set(document["components"]["schemas"]["Popup"]["enum"])


def test_only_requests_have_limits_and_no_field_of_theirs_a_default(document: dict[str, Any]) -> None:
    """A default makes openapi-typescript demand the field; zod counts an emoji as two, and would refuse stored ones."""
    sent, answered = [], []
    for _, _, operation in operations_of(document):
        sent += list(parts_of(schemas_behind(document, operation.get("requestBody", {}))))
        answered += list(parts_of(schemas_behind(document, operation["responses"])))
    assert any("maxLength" in part for part in sent)
    assert not any("default" in part for part in sent)
    for part in answered:
        limits = {"maxLength", "minLength", "pattern", "maxItems", "additionalProperties"}
        assert not part.keys() & limits, part


def test_the_pattern_of_a_title_is_the_rule(document: dict[str, Any]) -> None:
    """Of single characters; tests/system asks JavaScript's engine the same."""
    pattern = re.compile(document["components"]["schemas"]["TaskCreate"]["properties"]["title"]["pattern"])
    title = Text(longest=TITLE_LENGTH, blank=False)
    refused = {character for character in ALL_OF_TEXT if not pattern.search(character)}
    assert {"\0", " ", "\t", "\u3000"} <= refused
    for character in refused:
        with pytest.raises(ValidationError):
            title.deserialize(character)
    for character in ALL_OF_TEXT - refused:
        assert title.deserialize(character) == character


def test_a_wrong_id_in_a_path_is_named_as_in_the_document(
    document: dict[str, Any], client: httpx.Client, service: Service
) -> None:
    seen = 0
    for path, method, operation in operations_of(document):
        for name in (parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"):
            answer = client.request(method, service.url + path.format(**{name: "nonsense"}), json={"title": "x"})
            assert error_of(answer, 422).startswith(f"{name}: must be a UUID")
            seen += 1
    assert seen >= 5


def test_an_empty_parameter_counts_as_absent_where_the_document_says_so(
    document: dict[str, Any], client: httpx.Client, service: Service
) -> None:
    found = {}
    for path, method, operation in operations_of(document):
        for parameter in operation["parameters"]:
            if parameter["in"] == "query":
                name = parameter["name"]
                found[name] = parameter.get("allowEmptyValue", False)
                assert found[name] == ("Empty counts as absent." in parameter["description"])
                target = service.url + path.format(task_id=NOBODY)
                for query in (f"{name}=", name, f"{name}=&limit=2"):
                    answer = client.request(method, f"{target}?{query}")
                    if found[name]:
                        data_of(answer)
                    elif query.count(name) == 1:
                        assert f"; {name}: " in f"; {error_of(answer, 422)}"
    assert {name for name, may_be_empty in found.items() if may_be_empty} == HistoryQuerySchema.EMPTY_IS_ABSENT


def test_every_operation_has_samples_and_those_for_curl_work(
    document: dict[str, Any], client: httpx.Client, service: Service
) -> None:
    """tests/system runs those for fetch."""
    curl = argparse.ArgumentParser("curl", exit_on_error=False)
    curl.add_argument("url")
    curl.add_argument("-X", default="GET")
    curl.add_argument("-H", action="append", default=[])
    curl.add_argument("-d", default="")
    for path, method, operation in operations_of(document):
        samples = {(sample["lang"], sample["label"]): sample["source"] for sample in operation["x-codeSamples"]}
        assert samples.keys() == {("Shell", "curl"), ("JavaScript", "fetch")}
        assert ("Idempotency-Key" in samples["JavaScript", "fetch"]) == (method != "get")
        program, *words = shlex.split(samples["Shell", "curl"].replace("\\\n", "").replace(SERVER, service.url))
        assert program == "curl"
        given = curl.parse_args(words)
        assert method.upper() == given.X
        assert httpx.URL(given.url).path == path.format(task_id=examples.TASK_ID)
        headers = dict(header.split(": ") for header in given.H)
        answer = client.request(given.X, given.url, headers=headers, content=given.d)
        envelope_of(answer)
        is_of_nothing = examples.TASK_ID in given.url or path == "/api/v1/undo"
        assert answer.status_code == (404 if is_of_nothing else 201 if method == "post" else 200)


def test_the_introduction_says_what_the_code_does(document: dict[str, Any]) -> None:
    introduction = document["info"]["description"]
    headings = re.findall("^# (.*)$", introduction, re.MULTILINE)
    assert {"Answers", "Statuses and what to do", "Popup codes", "Safe retries"} <= set(headings)
    statuses = {status for _, _, operation in operations_of(document) for status in operation["responses"]} | {"405"}
    table = introduction.split("# Statuses and what to do")[1].split("\n# ")[0]
    assert set(re.findall(r"\b[2-5]\d\d\b", " ".join(re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)))) == statuses
    codes = introduction.split("# Popup codes")[1].split("\n# ")[0]
    assert re.findall(r"^\| `(\w+)`", codes, re.MULTILINE) == document["components"]["schemas"]["Popup"]["enum"]
    assert set(re.findall(r"`(/api/v1/.+?)`", introduction.split("# Tokens")[1])) == set(PROBES)
    assert f"over {Settings.max_body_bytes // 2**20} MiB" in introduction
    for link in re.findall(r"\]\(#section/([\w-]+)\)", introduction):
        assert link.replace("-", " ") in headings
