"""No input causes a 500: hostile requests as bytes, each answered in the envelope, and the list works after each."""

import http.client
import io
import random
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from tests.support.envelope import data_of, envelope_of
from tests.support.hostile import CORPUS, SILENT, quoted
from tests.support.hostile_bodies import SQL
from tests.support.load import Client
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql


class _Bytes(io.BytesIO):
    """What http.client takes for a socket; parsed answers leave it where the next one begins."""

    def makefile(self, *_: Any) -> "_Bytes":
        return self

    def close(self) -> None:
        """Keep it for the next answer."""


def answers(port: int, data: bytes) -> list[httpx.Response]:
    """All that the service answers to these bytes, after which the client sends no more."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=40) as connection:
        # Who refuses a request need not read all of it.
        with suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    # What gunicorn refuses before the application sees it has a body even where it began with HEAD.
    method = "HEAD" if data.startswith(b"HEAD ") and b"X-Request-Id: " in received else "GET"
    stream, found = _Bytes(bytes(received)), []
    while stream.tell() < len(received):
        answer = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]
        answer.begin()
        found.append(httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read()))
    assert method != "HEAD" or not any(answer.content for answer in found)
    return found


def check(answer: httpx.Response) -> None:
    """Below 500, in the envelope, and without a header or a redirect that the request has made."""
    assert answer.status_code < 500, answer.text
    assert not answer.headers.keys() & {"x-injected", "set-cookie"}
    if answer.status_code == 304:
        assert answer.text == ""
    elif 300 <= answer.status_code < 400:
        assert (answer.headers["Location"], answer.text) == ("/api/docs", "")
    elif "Content-Security-Policy" in answer.headers:
        assert answer.status_code == 200, "the docs page"
    elif answer.content:
        assert "Traceback" not in answer.text
        envelope_of(answer)


def written(sql: Sql) -> list[tuple[Any, ...]]:
    """Figures that every write moves."""
    return sql.rows("SELECT count(*), sum(version), (SELECT count(*) FROM task_history) FROM tasks")


def test_each_is_answered_and_writes_nothing(start_service: Any, figure: Callable[[str], None]) -> None:
    assert len(CORPUS) >= 200
    assert len({data for _, data in CORPUS}) == len(CORPUS)
    service = start_service()
    statuses, wrong = Counter[int](), list[str]()
    with Sql(service.database_url) as sql, Client(service.port) as client:
        task_id = client.create("there").data["id"]
        before = written(sql)
        for name, data in CORPUS:
            found = answers(service.port, data.replace(b"{id}", task_id.encode()))
            statuses.update(answer.status_code for answer in found)
            try:
                assert len(found) == (name not in SILENT), "the number of answers"
                for answer in found:
                    check(answer)
                assert written(sql) == before, "something was written"
                assert client.request("GET", "/tasks").status == 200, "the list"
            except AssertionError as error:
                wrong.append(f"{name}: {error!r}")
        assert not wrong, "\n".join([f"{len(wrong)} of {len(CORPUS)}", *wrong])
        assert_replay_equals_tasks(sql)
    assert "Traceback" not in service.log
    counts = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))
    figure(f"{len(CORPUS):,} hostile requests: {counts}, {len(SILENT)} not HTTP and without an answer; nothing written")


def test_those_that_chance_makes_of_them(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Pieces of them are cut out, doubled, exchanged and changed; one of them may be a valid request then."""
    number, chance, service = sized(300, 20_000), random.Random(3), start_service()
    pieces = [data[:20_000] for _, data in CORPUS if not data.startswith(b"HEAD ")]
    statuses: Counter[int] = Counter()
    with Sql(service.database_url) as sql, Client(service.port) as client:
        for _ in range(number):
            data = bytearray(chance.choice(pieces))
            for _ in range(chance.randint(1, 4)):
                start, other = sorted(chance.choices(range(len(data) + 1), k=2))
                match chance.randrange(4):
                    case 0:
                        del data[start : min(other, start + 20)]
                    case 1:
                        data[start:start] = data[start : start + 100]
                    case 2:
                        data[start:start] = chance.choice(pieces)[:50]
                    case _:
                        data[start : start + 1] = chance.randbytes(1)
            for answer in answers(service.port, bytes(data)):
                check(answer)
                statuses[answer.status_code] += 1
            assert client.request("GET", "/tasks").status == 200, data
        assert_replay_equals_tasks(sql)
    assert "Traceback" not in service.log
    figure(f"{number:,} changed ones: {sum(statuses.values()):,} answers, 0 of them 500 or more")


def test_what_looks_hostile_is_stored_as_sent(start_service: Any) -> None:
    service = start_service()
    client = service.client(base_url=f"{service.url}/api/v1")
    texts = [
        *SQL,
        "<script>alert(1)</script>",
        "{{7*7}}",
        "../../etc/passwd",
        "\x1b[31m",
        "a\r\nX-Injected: 1",
        "\u202eeman",
    ]
    for text in texts:
        key = {"Idempotency-Key": quoted(text)}
        created = data_of(
            client.post("/tasks", json={"title": text, "description": text}, headers=key), 201, "TASK_CREATED"
        )
        assert (created["title"], created["description"]) == (text, text)
        assert data_of(client.get(f"/tasks/{created['id']}")) == created
        assert data_of(client.get("/history"))["items"][0]["description"] == f"title: '{text}'"
    assert len(data_of(client.get("/tasks"))) == len(texts)
    with Sql(service.database_url) as sql:
        assert_replay_equals_tasks(sql)
    assert "Traceback" not in service.log
