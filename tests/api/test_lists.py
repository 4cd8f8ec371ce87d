"""GET /tasks with parameters, its tag and its links; the history's filters and its cursor."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from taskapi.cursors import position_cursor
from taskapi.schemas.fields import LONGEST_SEARCH, MAX_LIST
from tests.support import raw
from tests.support.envelope import data_of, error_of, fields_of
from tests.support.service import Service
from tests.support.sql import Sql

Create = Callable[..., dict[str, Any]]

LINK = re.compile(r'<(/[!#-;=?-~]*)>; rel="(next|monitor)"')
TAG = re.compile(r'"[\x21\x23-\x7e]{1,700}"')


def links_of(answer: httpx.Response) -> dict[str, str]:
    """The links of an answer by their relations. They are written as RFC 8288 has them, each once."""
    text = answer.headers.get("Link", "")
    found = LINK.findall(text)
    assert ", ".join(f'<{target}>; rel="{relation}"' for target, relation in found) == text
    links = {relation: target for target, relation in found}
    assert len(links) == len(found)
    # As a client's library reads them.
    assert {relation: link["url"] for relation, link in answer.links.items()} == links
    return links


def following(client: httpx.Client, service: Service, path: str) -> Iterator[httpx.Response]:
    """The answer at a path, and those that its links to the next page lead to."""
    target: str | None = f"/api/v1{path}"
    while target:
        answer = client.get(service.url + target)
        assert answer.status_code == 200, answer.text
        yield answer
        target = links_of(answer).get("next")


@pytest.fixture(scope="module")
def marked(kept_client: httpx.Client) -> list[dict[str, Any]]:
    """Twelve tasks that a text finds, in the order of the list; each third one is completed."""
    for number in range(12):
        task = data_of(
            kept_client.post("/tasks", json={"title": f"Marked {number}", "description": "quokka"}), 201, "TASK_CREATED"
        )
        if number % 3 == 0:
            data_of(kept_client.patch(f"/tasks/{task['id']}/complete"), 200, "TASK_COMPLETED")
    return [task for task in data_of(kept_client.get("/tasks")) if task["title"].startswith("Marked ")]


# What there was before


def test_without_parameters_it_is_every_task(client: httpx.Client, create: Create, service_sql: Sql) -> None:
    create()
    answer = client.get("/tasks")
    assert len(data_of(answer)) == service_sql.value("SELECT count(*) FROM tasks")
    assert answer.text.startswith('{"success":true,"data":[{"id":"')
    assert answer.text.endswith('}],"popup":null,"error":null}')
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Vary"] == "Authorization, Origin"
    assert list(links_of(answer)) == ["monitor"]
    assert "X-Total-Count" not in answer.headers
    # The page of all is written as the list is.
    assert client.get("/tasks", params={"created_from": "0001-01-01T00:00:00Z"}).content == answer.content


# Filters and pages


@pytest.mark.parametrize("limit", [1, 5, 11, 12, 13, MAX_LIST])
def test_pages_together_are_the_list(
    client: httpx.Client, service: Service, marked: list[dict[str, Any]], limit: int
) -> None:
    pages = [*following(client, service, f"/tasks?text=QUOKKA&limit={limit}&count=true")]
    assert [task for page in pages for task in data_of(page)] == marked
    assert len(pages) == -(-len(marked) // limit)
    assert {page.headers["X-Total-Count"] for page in pages} == {"12"}
    assert len({page.headers["ETag"] for page in pages}) == len(pages)


def test_changes_go_on_from_the_first_page_whatever_is_written_meanwhile(
    client: httpx.Client, service: Service, marked: list[dict[str, Any]], create: Create
) -> None:
    monitors, tags = [], []
    for page in following(client, service, "/tasks?text=quokka&limit=3"):
        monitors.append(links_of(page)["monitor"])
        tags.append(page.headers["ETag"].partition(".")[2])
        now = links_of(client.get("/tasks"))["monitor"]
        create("Written between the pages")
        assert links_of(client.get("/tasks"))["monitor"] != now
    assert len(monitors) > 2
    assert len(set(monitors)) == 1
    # The tag of each page is its own: it says what that page showed.
    assert len(set(tags)) == len(tags)


def test_a_next_page_has_the_parameters_of_the_first(
    client: httpx.Client, service: Service, marked: list[dict[str, Any]]
) -> None:
    query = {"text": "quokka", "is_completed": "false", "limit": "3", "created_from": "2020-01-01T00:00:00+01:00"}
    target = links_of(client.get("/tasks", params=query))["next"]
    parameters = parse_qs(urlsplit(target).query, strict_parsing=True)
    assert urlsplit(target).path == "/api/v1/tasks"
    assert {name: text for name, (text,) in parameters.items() if name != "cursor"} == query
    assert data_of(client.get(service.url + target)) == [task for task in marked if not task["is_completed"]][3:6]
    # The size of a page may change on the way.
    longer = client.get("/tasks", params={**query, "limit": "100", "cursor": parameters["cursor"][0]})
    assert data_of(longer) == [task for task in marked if not task["is_completed"]][3:]
    assert "next" not in links_of(longer)


def test_filters(client: httpx.Client, marked: list[dict[str, Any]]) -> None:
    def found(**filters: str) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = data_of(client.get("/tasks", params={"text": "quokka", **filters}))
        return tasks

    assert found(is_completed="true") == [task for task in marked if task["is_completed"]]
    assert found(is_completed="false") == [task for task in marked if not task["is_completed"]]
    assert found(text="Marked 1") == [task for task in marked if task["title"].startswith("Marked 1")]
    assert found(text="q.*a") == found(text="quokka%") == []
    for name in ("created", "updated", "completed"):
        moments = sorted(task[f"{name}_at"] for task in marked if task[f"{name}_at"])
        half = len(moments) // 2
        middle = moments[half]
        assert sorted(task[f"{name}_at"] for task in found(**{f"{name}_from": middle})) == moments[half:]
        assert sorted(task[f"{name}_at"] for task in found(**{f"{name}_before": middle})) == moments[:half]
        elsewhere = datetime.fromisoformat(middle).astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
        assert found(**{f"{name}_from": elsewhere.lower()}) == found(**{f"{name}_from": middle})
        assert found(**{f"{name}_from": middle, f"{name}_before": middle}) == []


def test_head_is_get_without_the_list(client: httpx.Client, marked: list[dict[str, Any]]) -> None:
    answers = [client.request(method, "/tasks?text=quokka&limit=2&count=true") for method in ("HEAD", "GET")]
    for name in ("Content-Length", "X-Total-Count", "Cache-Control", "Vary"):
        assert len({answer.headers[name] for answer in answers}) == 1
    assert {tuple(links_of(answer)) for answer in answers} == {("next", "monitor")}
    assert answers[0].content == b""
    assert client.head("/tasks", headers={"If-None-Match": answers[0].headers["ETag"]}).status_code == 200
    known = {"If-None-Match": answers[1].headers["ETag"]}
    assert client.head("/tasks?text=quokka&limit=2&count=true", headers=known).status_code == 304


BROKEN = {
    "is_completed": ["", "True", "1", "null"],
    "text": ["", "x" * (LONGEST_SEARCH + 1), "%00"],
    "limit": ["", "0", "-1", str(MAX_LIST + 1), "1.5", "9" * 3000, "x"],
    "cursor": ["", "x", "bm9uc2Vuc2U", "%00", "%ED%A0%80", "x" * 3000],
    "count": ["", "yes", "TRUE"],
    **{
        f"{name}_{end}": [
            "",
            "now",
            "2026-11-25",
            "2026-11-25T07:30:11",
            "2026-11-25T07:30:11+01:00",
            "%00",
            "-infinity",
        ]
        for name in ("created", "updated", "completed")
        for end in ("from", "before")
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_parameter_that_breaks_a_rule_is_422(client: httpx.Client, service: Service, name: str) -> None:
    for text in BROKEN[name]:
        error = error_of(raw.send(service.port, raw.request("GET", f"/api/v1/tasks?{name}={text}")), 422)
        assert fields_of(error) == {name}
    error_of(client.get(f"/tasks?{name}=1&{name}=2"), 422)


def test_a_cursor_is_of_its_list(client: httpx.Client, service: Service, marked: list[dict[str, Any]]) -> None:
    cursor = parse_qs(urlsplit(links_of(client.get("/tasks?limit=1"))["next"]).query)["cursor"][0]
    data_of(client.get("/tasks", params={"cursor": cursor}))
    for others in ({"text": "quokka"}, {"is_completed": "true"}, {"created_from": "2020-01-01T00:00:00Z"}):
        assert error_of(client.get("/tasks", params={**others, "cursor": cursor}), 422) == (
            "cursor: was made for other filters (leave it out to start anew)"
        )
    assert fields_of(error_of(client.get("/history", params={"cursor": cursor}), 422)) == {"cursor"}


# The list that the client has


def test_a_client_that_has_the_list_is_told_so(client: httpx.Client, create: Create) -> None:
    create("Buy")
    for path in ("/tasks", "/tasks?limit=2", "/tasks?text=buy&count=true"):
        tag = client.get(path).headers["ETag"]
        assert TAG.fullmatch(tag)
        for given in (tag, f"W/{tag}", f'"7", {tag},, W/"x"', "*"):
            answer = client.get(path, headers={"If-None-Match": given})
            assert (answer.status_code, answer.content) == (304, b"")
            # What a cache finds its copy by: RFC 9111, section 4.3.4.
            assert given == "*" or answer.headers["ETag"] == tag
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert answer.headers["Vary"] == "Authorization, Origin"
            assert "Link" not in answer.headers


def test_any_change_is_news_whatever_the_filter(client: httpx.Client, create: Create) -> None:
    task = create("Buy")
    path = f"/tasks/{task['id']}"
    for listed in ("/tasks", "/tasks?text=nowhere"):
        for method, body in (("PUT", {"title": "Buy milk"}), ("PATCH", None), ("PUT", {"title": "Buy"})):
            tag = client.get(listed).headers["ETag"]
            suffix = "/complete" if method == "PATCH" else ""
            before = data_of(client.get(path))
            assert client.request(method, path + suffix, json=body).status_code == 200
            is_changed = data_of(client.get(path)) != before
            answer = client.get(listed, headers={"If-None-Match": tag})
            assert answer.status_code == (200 if is_changed else 304)


def test_a_tag_is_of_its_parameters(client: httpx.Client, create: Create) -> None:
    create()
    paths = ["/tasks", "/tasks?limit=1", "/tasks?limit=2", "/tasks?is_completed=true", "/tasks?is_completed=false"]
    paths += ["/tasks?count=true", "/tasks?limit=1&count=true", "/tasks?text=a", "/tasks?text=A"]
    for path in paths:
        tag = client.get(path).headers["ETag"]
        for other in paths:
            answer = client.get(other, headers={"If-None-Match": tag})
            assert answer.status_code == (304 if other == path else 200)


@pytest.mark.parametrize(
    "tag",
    [
        *("", "7", "{name}.", "{name}.x", "{name}.MQ", "{name}.é", "{name}." + "9" * 3000),
        f"x.{position_cursor('1:1:/')}",
        f".{position_cursor('1:1:/')}",
        *(f"{{name}}.{position_cursor(f'{snapshot}/')}" for snapshot in ("2:1:", "1:5:5", "4294967296:4294967296:")),
        "{name}." + position_cursor("1:1:/00000000-0000-0000-0000-000000000000"),
        "{name}." + position_cursor("9223372036854775806:9223372036854775807:/"),
        "1" * 6000,
    ],
)
def test_a_tag_from_nowhere_matches_nothing(client: httpx.Client, service: Service, create: Create, tag: str) -> None:
    create()
    name = client.get("/tasks").headers["ETag"].strip('"').partition(".")[0]
    sent = raw.request("GET", "/api/v1/tasks", {"If-None-Match": f'"{tag.format(name=name)}"'})
    data_of(raw.send(service.port, sent))


def test_a_malformed_condition_is_422(client: httpx.Client) -> None:
    for text in ("7", "'7'", '"7', '*, "7"', ""):
        error = error_of(client.get("/tasks", headers={"If-None-Match": text}), 422)
        assert fields_of(error) == {"If-None-Match"}


# The history


@pytest.fixture(scope="module")
def runs(kept_client: httpx.Client) -> list[dict[str, Any]]:
    """Twelve entries, newest first: of a task that two runs change in turn."""
    task = data_of(kept_client.post("/tasks", json={"title": "Turn 0"}), 201, "TASK_CREATED")
    for number in range(1, 12):
        headers = {"Change-Set": f"run {number % 2}", "X-Request-Id": f"request-{number}"}
        body = {"title": f"Turn {number}"}
        data_of(kept_client.put(f"/tasks/{task['id']}", json=body, headers=headers), 200, "TASK_UPDATED")
    page = data_of(kept_client.get("/history", params={"task_id": task["id"], "limit": 100}))
    entries: list[dict[str, Any]] = page["items"]
    return entries


def test_filters_of_the_history(client: httpx.Client, runs: list[dict[str, Any]]) -> None:
    def found(**filters: str) -> list[dict[str, Any]]:
        page = data_of(client.get("/history", params={"limit": "100", **filters}))
        assert page["pagination"]["total_count"] == len(page["items"])
        items: list[dict[str, Any]] = page["items"]
        return items

    task_id, middle = runs[0]["task_id"], runs[5]["timestamp"]
    assert found(request_id="request-7") == [entry for entry in runs if entry["request_id"] == "request-7"]
    assert found(change_set="run 1") == [entry for entry in runs if entry["change_set"] == "run 1"]
    assert found(change_set="run 1", before=middle) == [e for e in runs[6:] if e["change_set"] == "run 1"]
    assert found(task_id=task_id, **{"from": middle}) == runs[:6]
    assert found(task_id=task_id, before=middle) == runs[6:]
    assert found(task_id=task_id, actor="nobody") == found(change_set="run 1", request_id="request-2") == []
    assert found(change_set="run 1", action_type="", task_id="") == found(change_set="run 1")
    assert found(change_set="run 1", action_type="CREATED") == []


@pytest.mark.parametrize("filters", ["", "change_set=run%201&", "change_set=run%201&action_type=UPDATED&"])
@pytest.mark.parametrize("start", ["", "page=1&", "offset=2&", "page=2&offset=&"])
def test_the_links_of_the_history_lead_to_its_end(
    client: httpx.Client, service: Service, runs: list[dict[str, Any]], filters: str, start: str
) -> None:
    filters = filters or f"task_id={runs[0]['task_id']}&"
    whole = data_of(client.get(f"/history?{filters}limit=100"))["items"]
    pages = [*following(client, service, f"/history?{filters}{start}limit=3")]
    entries = [data_of(page) for page in pages]
    skipped = {"": 0, "page=1&": 0, "offset=2&": 2, "page=2&offset=&": 3}[start]
    assert [entry for page in entries for entry in page["items"]] == whole[skipped:]
    for number, page in enumerate(entries):
        figures = page["pagination"]
        assert figures["total_count"] == len(whole)
        assert figures["total_pages"] == -(-len(whole) // 3)
        assert figures["page_size"] == 3
        assert figures["has_next"] == (number < len(entries) - 1)
        if number:
            assert (figures["current_page"], figures["has_prev"]) == (None, None)


def test_a_cursor_stays_in_its_place_while_others_write(client: httpx.Client, service: Service, create: Create) -> None:
    create()
    create()
    first = client.get("/history?limit=1")
    newest = data_of(first)["items"]
    for _ in range(3):
        create()
    pages = data_of(client.get("/history?limit=4"))["items"]
    second = data_of(client.get(service.url + links_of(first)["next"]))
    assert pages[3:] == newest
    assert second["items"][0]["timestamp"] < newest[0]["timestamp"]
    assert second["items"] == data_of(client.get("/history?limit=1&offset=4"))["items"]


def test_the_last_page_of_the_history_has_no_link(client: httpx.Client, runs: list[dict[str, Any]]) -> None:
    of_task = f"/history?task_id={runs[0]['task_id']}"
    assert links_of(client.get(f"{of_task}&limit=12")) == links_of(client.get(f"{of_task}&limit=6&page=2")) == {}
    assert list(links_of(client.get(f"{of_task}&limit=11"))) == ["next"]
    assert "Link" not in client.get(f"{of_task}&page=99999999999999999999").headers


@pytest.mark.parametrize(
    ("query", "names"),
    [
        *((f"{name}=", {name}) for name in ("actor", "request_id", "change_set", "from", "before", "cursor")),
        ("from=now&before=2026-11-25", {"from", "before"}),
        ("cursor=x", {"cursor"}),
        ("cursor=x&page=1", {"page"}),
        ("cursor=x&page=1&offset=0", {"page", "offset"}),
        ("cursor=x&offset=", {"cursor"}),
        (f"actor={'a' * 256}&change_set={'c' * 101}", {"actor", "change_set"}),
        ("actor=%00", {"actor"}),
    ],
)
def test_a_parameter_of_the_history_that_breaks_a_rule_is_422(
    client: httpx.Client, query: str, names: set[str]
) -> None:
    assert fields_of(error_of(client.get(f"/history?{query}"), 422)) == names


def test_a_cursor_of_the_history_is_of_its_filters(client: httpx.Client, runs: list[dict[str, Any]]) -> None:
    target = links_of(client.get("/history?limit=1&change_set=run%201"))["next"]
    cursor = parse_qs(urlsplit(target).query)["cursor"][0]
    for others in ("", "&change_set=run%200", "&change_set=run%201&action_type=UPDATED"):
        error = error_of(client.get(f"/history?cursor={cursor}{others}"), 422)
        assert error == "cursor: was made for other filters (leave it out to start anew)"
