"""Hostile input gets the contract's answer, writes nothing, and leaves the service as it was."""

import socket

import httpx
import pytest

from taskapi.schemas.fields import LONGEST_KEY, MAX_PAGE_SIZE, TITLE_LENGTH
from taskapi.settings import Settings
from tests.support import raw
from tests.support.envelope import data_of, error_of, fields_of
from tests.support.service import Service
from tests.support.tasks import NOBODY

pytestmark = pytest.mark.usefixtures("nothing_written")

TASK_PATHS = [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete"), ("PATCH", "/incomplete")]
WRITES = [
    ("POST", "/api/v1/tasks"),
    *((method, f"/api/v1/tasks/{NOBODY}{suffix}") for method, suffix in TASK_PATHS if method != "GET"),
]
DEEP = 10_000

NOT_JSON = {
    "white space": b" \n",
    "half an object": b"{",
    "half a string": b'{"title": "x',
    "no quotes": b"{title: 1}",
    "single quotes": b"{'title': 'x'}",
    "a last comma": b'{"title": "x",}',
    "a comment": b'{"title": "x"} // x',
    "text behind": b'{"title": "x"} x',
    "another object behind": b'{"title": "x"}{"title": "y"}',
    "U+0000 behind": b'{"title": "x"}\x00',
    "a line end in a string": b'{"title": "a\nb"}',
    "an unknown escape": rb'{"title": "\x41"}',
    "half an escape": rb'{"title": "\u00"}',
    "NaN": b'{"title": NaN}',
    "Infinity": b'{"title": "x", "description": Infinity}',
    "-Infinity": b'{"title": "x", "extra": [-Infinity]}',
    "a leading zero": b'{"title": 01}',
    "a leading plus": b'{"title": +1}',
    "a leading point": b'{"title": .5}',
    "hexadecimal": b'{"title": 0x10}',
    "True": b'{"title": True}',
    "deep arrays": b"[" * DEEP + b"]" * DEEP,
    "deep arrays, not closed": b"[" * DEEP,
    "deep objects": b'{"title":' * DEEP + b"1" + b"}" * DEEP,
    "deep description": b'{"title": "x", "description": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "not UTF-8": b'{"title": "\xff"}',
    "latin-1": '{"title": "é"}'.encode("latin-1"),
    "half a character": b'{"title": "\xf0\x9f\x98"}',
    "an overlong U+0000": b'{"title": "\xc0\x80"}',
    "a lone surrogate, encoded": b'{"title": "\xed\xa0\x80"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "UTF-16, without its mark": '{"title": "x"}'.encode("utf-16-le"),
    "UTF-32": '{"title": "x"}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"title": "x"}',
    "a form": b"title=x",
    "XML": b"<title>x</title>",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("target", ["/tasks", f"/tasks/{NOBODY}"], ids=["POST", "PUT"])
def test_a_body_that_is_not_json_is_400(client: httpx.Client, target: str, body: bytes) -> None:
    method = "POST" if target == "/tasks" else "PUT"
    error_of(client.request(method, target, content=body, headers=raw.JSON), 400)


BROKEN_RULES: dict[str, tuple[bytes, set[str]]] = {
    "an array": (b'[{"title": "x"}]', {"body"}),
    "null": (b"null", {"body"}),
    "a string": (b'"title"', {"body"}),
    "a number": (b"5", {"body"}),
    "true": (b"true", {"body"}),
    "title: null": (b'{"title": null}', {"title"}),
    "title: a number": (b'{"title": 5}', {"title"}),
    "title: a fraction": (b'{"title": 5.5}', {"title"}),
    "title: a boolean": (b'{"title": true}', {"title"}),
    "title: an array": (b'{"title": ["x"]}', {"title"}),
    "title: an object": (b'{"title": {"x": 1}}', {"title"}),
    "title: 1e999": (b'{"title": 1e999}', {"title"}),
    "title: 5,000 digits": (b'{"title": ' + b"9" * 5000 + b"}", {"title"}),
    "title: -5,000 digits": (b'{"title": -' + b"9" * 5000 + b"}", {"title"}),
    "title: empty": (b'{"title": ""}', {"title"}),
    "title: blank": (b'{"title": " \\t\\n"}', {"title"}),
    "title: U+0000": (rb'{"title": "a\u0000b"}', {"title"}),
    "title: U+0000 alone": (rb'{"title": "\u0000"}', {"title"}),
    "title: a high surrogate": (rb'{"title": "\ud800"}', {"title"}),
    "title: a low surrogate": (rb'{"title": "a\udfff"}', {"title"}),
    "title: surrogates in the wrong order": (rb'{"title": "\ude00\ud83d"}', {"title"}),
    "title: U+0000 and too long": (b'{"title": "\\u0000' + b"x" * TITLE_LENGTH + b'"}', {"title"}),
    "title: 1 MB": (b'{"title": "' + b"x" * 1_000_000 + b'"}', {"title"}),
    "description: a number": (b'{"title": "x", "description": 5}', {"description"}),
    "description: false": (b'{"title": "x", "description": false}', {"description"}),
    "description: an array": (b'{"title": "x", "description": []}', {"description"}),
    "description: an object": (b'{"title": "x", "description": {}}', {"description"}),
    "description: U+0000": (rb'{"title": "x", "description": "\u0000"}', {"description"}),
    "description: a surrogate": (rb'{"title": "x", "description": "\udc00"}', {"description"}),
    "description: 1 MB": (b'{"title": "x", "description": "' + b"x" * 1_000_000 + b'"}', {"description"}),
    "unknown": (b'{"title": "x", "colour": "red"}', {"colour"}),
    "unknown: null": (b'{"title": "x", "colour": null}', {"colour"}),
    "unknown: a surrogate": (rb'{"title": "x", "colour": "\ud800"}', {"colour"}),
    "unknown: 1e999": (b'{"title": "x", "colour": 1e999}', {"colour"}),
    "unknown: in upper case": (b'{"title": "x", "Title": "x"}', {"Title"}),
    "unknown: with a space": (b'{"title": "x", "title ": "x"}', {"title "}),
    "unknown: __proto__": (b'{"title": "x", "__proto__": {}}', {"__proto__"}),
    "what the database makes": (
        b'{"title": "x", "id": "x", "is_completed": true, "created_at": "x", "updated_at": "x", "completed_at": "x"}',
        {"id", "is_completed", "created_at", "updated_at", "completed_at"},
    ),
    "what nobody sees": (b'{"title": "x", "version": 1, "snapshot": 1}', {"version", "snapshot"}),
    "unknown: _schema": (b'{"title": "x", "_schema": 1}', {"_schema"}),
    "all at once": (b'{"title": 5, "description": 5, "colour": 5}', {"title", "description", "colour"}),
}


@pytest.mark.parametrize(("body", "fields"), BROKEN_RULES.values(), ids=BROKEN_RULES)
@pytest.mark.parametrize("target", ["/tasks", f"/tasks/{NOBODY}"], ids=["POST", "PUT"])
def test_json_that_breaks_a_rule_is_422_and_names_the_fields(
    client: httpx.Client, target: str, body: bytes, fields: set[str]
) -> None:
    method = "POST" if target == "/tasks" else "PUT"
    error = error_of(client.request(method, target, content=body, headers=raw.JSON), 422)
    assert fields_of(error) == fields
    assert len(error) < 1000


def test_a_title_is_required(client: httpx.Client) -> None:
    assert fields_of(error_of(client.post("/tasks", json={}), 422)) == {"title"}
    assert fields_of(error_of(client.post("/tasks", json={"description": "x"}), 422)) == {"title"}


def test_a_field_name_may_be_anything(client: httpx.Client) -> None:
    for name in (rb"\ud800", rb"\u0000", b"", b"x" * 100_000, "🦀".encode()):
        error = error_of(client.post("/tasks", content=b'{"title": "x", "%s": 1}' % name, headers=raw.JSON), 422)
        assert len(error) < 1000
    many = {f"field {number}": number for number in range(10_000)}
    assert len(error_of(client.post("/tasks", json={"title": "x", **many}), 422)) < 2000


CUT_OFF = {
    "shorter than its length": raw.request(
        "POST", "/api/v1/tasks", {**raw.JSON, "Content-Length": "100"}, b'{"title": "x"}'
    ),
    "without its last chunk": raw.chunked("POST", "/api/v1/tasks", b'{"title": "x"}').removesuffix(b"0\r\n\r\n"),
    "in the middle of a chunk": raw.chunked("POST", "/api/v1/tasks", b'{"title": "x"}')[:-12],
    "before the end of the last chunk": raw.chunked("POST", "/api/v1/tasks", b'{"title": "x"}')[:-4],
}


@pytest.mark.parametrize("data", CUT_OFF.values(), ids=CUT_OFF)
def test_a_body_that_was_cut_off_is_400(client: httpx.Client, service: Service, data: bytes) -> None:
    error_of(raw.send(service.port, data, ends=True), 400)


@pytest.mark.parametrize(
    "chunk", [b"zz\r\n", b"-1\r\n{}\r\n0\r\n\r\n", b"\r\n\r\n", b"e\r\n" + b"x" * 14 + b"XX0\r\n\r\n"]
)
def test_chunks_that_are_none_are_400(client: httpx.Client, service: Service, chunk: bytes) -> None:
    headers = {**raw.JSON, "Transfer-Encoding": "chunked"}
    error_of(raw.send(service.port, raw.request("POST", "/api/v1/tasks", headers, chunk), ends=True), 400)


NOT_IDS = {
    "a word": "nonsense",
    "a number": "1",
    "a space": "%20",
    "an encoded line end": "%0A",
    "a UUID and a line end": f"{NOBODY}%0A",
    "a line end and a UUID": f"%0A{NOBODY}",
    "a UUID and a space": f"{NOBODY}%20",
    "braces": f"%7B{NOBODY}%7D",
    "urn": f"urn:uuid:{NOBODY}",
    "no hyphens": NOBODY.replace("-", ""),
    "hyphens elsewhere": "3b24-1101e2bb-4255-8caf-4136c566a962",
    "a digit less": NOBODY[:-1],
    "a digit more": f"{NOBODY}0",
    "no hexadecimal digit": f"g{NOBODY[1:]}",
    "a digit of another script": f"%D9%A3{NOBODY[1:]}",
    "full width": f"%EF%BC%93{NOBODY[1:]}",
    "U+0000": "%00",
    "not UTF-8": "%FF%FE",
    "half an escape": "%zz",
    "a quote": "'%20OR%201=1",
    "a backslash": "..%5C..",
    "3 kB": "x" * 3000,
    "a thousand UUIDs": ",".join([NOBODY] * 100),
}


@pytest.mark.parametrize("task_id", NOT_IDS.values(), ids=NOT_IDS)
def test_an_id_that_is_no_uuid_is_422(client: httpx.Client, service: Service, task_id: str) -> None:
    for method, suffix in TASK_PATHS:
        data = raw.sized(method, f"/api/v1/tasks/{task_id}{suffix}", b'{"title": "x"}')
        assert fields_of(error_of(raw.send(service.port, data), 422)) == {"task_id"}


NOT_NUMBERS = ["", "x", "1.5", "1.0", "1e1", "0x1", "1_0", "%201", "1%20", "%2B1", "+1", "-1", "1%0A", "%D9%A1", "NaN"]
NOT_NUMBERS += ["null", "true", "[]", "%22%22", "%00", "%FF", "%EF%BC%91", "%C2%B2", "--1", "1,2", "9" * 3500 + "x"]

HUGE = "99999999999999999999"
BROKEN_QUERIES = [
    *((f"page={value}", "page") for value in [*NOT_NUMBERS, "0", f"-{HUGE}"]),
    *((f"limit={value}", "limit") for value in [*NOT_NUMBERS, "0", str(MAX_PAGE_SIZE + 1), HUGE, "9" * 3500]),
    *((f"offset={value}", "offset") for value in NOT_NUMBERS[1:]),
    *((f"task_id={value}", "task_id") for value in NOT_IDS.values()),
    *(
        (f"action_type={value}", "action_type")
        for value in ("x", "created", "CREATED%0A", "%20CREATED", "CREATED,UPDATED")
    ),
    ("page=1&page=1", "page"),
    ("limit=5&limit=6", "limit"),
    ("action_type=CREATED&action_type=UPDATED", "action_type"),
    (f"task_id=&task_id={NOBODY}", "task_id"),
    ("offset=&offset=", "offset"),
    ("page=1&offset=-1", "offset"),
    ("page=0&offset=5", "page"),
    ("Page=1", "Page"),
    ("sort=asc", "sort"),
    ("page[]=1", "page[]"),
    ("page", "page"),
    ("x", "x"),
    ("__proto__=1", "__proto__"),
    ("limit=5&per_page=5", "per_page"),
]


@pytest.mark.parametrize(("query", "field"), BROKEN_QUERIES, ids=[query[:40] for query, _ in BROKEN_QUERIES])
def test_a_query_that_breaks_a_rule_is_422_and_names_the_parameter(
    client: httpx.Client, service: Service, query: str, field: str
) -> None:
    error = error_of(raw.send(service.port, raw.request("GET", f"/api/v1/history?{query}")), 422)
    assert fields_of(error) == {field}
    assert len(error) < 1000


@pytest.mark.parametrize(
    "query", ["x=1", "page=1", "x", "=1", "%FF=1", "%00=%00", "x=1&x=2", "is_completed=true", "x" * 3000]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/tasks"),
        *((method, f"/api/v1/tasks/{NOBODY}{suffix}") for method, suffix in TASK_PATHS),
        ("GET", "/api/v1/stats/weekly"),
        ("GET", "/api/v1/health"),
        ("GET", "/api/v1/health/ready"),
    ],
)
def test_a_path_without_parameters_refuses_every_one(
    client: httpx.Client, service: Service, method: str, path: str, query: str
) -> None:
    error_of(raw.send(service.port, raw.sized(method, f"{path}?{query}", b'{"title": "x"}')), 422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/v1/tasks/nonsense"),
        ("POST", "/api/v1/tasks/nonsense/undo"),
        ("PUT", f"/api/v1/tasks/{NOBODY}?x=1"),
        *(("POST", f"/api/v1/{path}?x=1") for path in ("tasks", "tasks/bulk", "undo", f"tasks/{NOBODY}/restore")),
    ],
)
def test_what_is_wrong_with_a_path_comes_after_the_body(service: Service, method: str, path: str) -> None:
    """The contract's order: 413, 415, 400, 422."""
    large = b" " * (Settings.max_body_bytes + 1)
    for body, headers, status in (
        (large, raw.JSON, 413),
        (b"{", {"Content-Type": "text/plain"}, 415),
        (b"{", raw.JSON, 400),
        (b"{}", raw.JSON, 422),
    ):
        assert error_of(raw.send(service.port, raw.sized(method, path, body, headers)), status)


@pytest.mark.parametrize("query", ["page=99999999999999999999", "offset=99999999999999999999", f"page={'9' * 3500}"])
def test_a_page_of_any_size_is_past_the_end(client: httpx.Client, query: str) -> None:
    page = data_of(client.get(f"/history?{query}"))
    assert page["items"] == []
    assert page["pagination"]["has_next"] is False


BAD_KEYS = {
    "empty": "",
    "white space": " ",
    "too long": "k" * (LONGEST_KEY + 1),
    "a tab": "a\tb",
    "é": "é",
    "UTF-8": "🔑".encode().decode("latin-1"),
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_is_none_is_422(client: httpx.Client, service: Service, key: str) -> None:
    for method, path in WRITES:
        data = raw.sized(method, path, b'{"title": "x"}', {**raw.JSON, "Idempotency-Key": key})
        assert fields_of(error_of(raw.send(service.port, data), 422)) == {"Idempotency-Key"}


def test_a_client_that_leaves_in_the_middle_is_no_defect(client: httpx.Client, service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b"POST /api/v1/tasks HTTP/1.1\r\nContent-Le")
    data_of(client.get("/health"))
