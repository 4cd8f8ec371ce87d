"""Hostile requests as bytes: what no client sends by mistake, made by a generator for each kind of malice."""

import json
import random
import string
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from tests.support import raw
from tests.support.hostile_bodies import SQL, bodies

NOBODY = str(UUID(int=4, version=4))
TASKS, HISTORY, UNDO, CHANGES = "/api/v1/tasks", "/api/v1/history", "/api/v1/undo", "/api/v1/changes"
EVENTS = {"Accept": "text/event-stream"}
TASK = f"{TASKS}/{{id}}"
"""A task that is there: what should be refused and is not would change it."""

VALID = b'{"title": "x"}'

PARAMETERS = {
    TASKS: ["is_completed", "text", "created_from", "updated_before", "completed_from", "cursor", "count"],
    HISTORY: ["actor", "request_id", "change_set", "from", "before", "cursor"],
}


Request = tuple[str, bytes]


def quoted(text: str) -> str:
    """Percent-encoded, all of it."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def writes() -> Iterator[Request]:
    for name, body in bodies():
        yield f"POST {name}", raw.sized("POST", TASKS, body)
        yield f"PUT {name}", raw.sized("PUT", TASK, body)
        yield f"in bulk {name}", raw.sized("POST", f"{TASKS}/bulk", b'{"create": [%s, %s]}' % (VALID, body))
    for kind in ("", "text/plain", "text/html", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        yield f"Content-Type {kind}", raw.sized("POST", TASKS, VALID, {"Content-Type": kind})
    for kind in ("application/jsonp", "application/json/x", "json", ";", "application/", "a" * 5000, "\xff"):
        yield f"Content-Type {kind[:20]}", raw.sized("PUT", TASK, VALID, {"Content-Type": kind})
    for key in ("", " ", "\t", "k" * 256, "k" * 8000, "é", "a\x7fb", "a\tb"):
        yield f"key {key[:10]!r}", raw.sized("POST", TASKS, VALID, {**raw.JSON, "Idempotency-Key": key})
    yield "gzip", raw.sized("POST", TASKS, b"\x1f\x8b\x08\x00" + bytes(100), {**raw.JSON, "Content-Encoding": "gzip"})
    yield "two keys", raw.sized("POST", TASKS, VALID, {**raw.JSON, "Idempotency-Key": "a", "idempotency-key": "é"})


def _chosen(**body: Any) -> bytes:
    return raw.sized("POST", UNDO, json.dumps(body).encode())


def undos() -> Iterator[Request]:
    """Versions, times and choices that are none, in place of what is to be undone."""
    numbers = ["0", "-1", "1.5", "1e999", "2147483648", "9" * 20, "9" * 5000, "true", "null", '"1"', "[1]", "{}"]
    for number in [*numbers, "NaN", "01", "0x1", ""]:
        for path in (f"{TASK}/undo", f"{TASK}/restore"):
            yield f"{path} {number[:20]}", raw.sized("POST", path, b'{"version": %s}' % number.encode())
        body = f'{{"task_id": "{NOBODY}", "version": {number}}}'
        yield f"version {number[:20]}", raw.sized("POST", UNDO, body.encode())
    times = ["", "x", "now", "infinity", "-infinity", "epoch", "today", "2026", "1764000000", "2026-01-01", *SQL]
    times += ["0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:01Z", "2026-01-01T00:00:61Z"]
    times += ["2026-01-01T00:00:00", "2026-01-01T00:00:00 BC", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00Zulu"]
    times += ["99999-01-01T00:00:00Z", "2026-W01-1T00:00:00Z", "２０２６-01-01T00:00:00Z", "2026-01-01T00:00:00.Z"]
    # The last two are times, and there was nothing before or after them.
    times += ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
    times += ["9999-12-01T23:59:59-23:59", f"9999-01-01T00:00:00.{'9' * 99}Z"]
    for time in times:
        for place in ("since", "until"):
            yield f"{place} {time[:40]}", _chosen(actor="x", **{"since": "2026-01-01T00:00:00Z", place: time})
    values: list[Any] = [*SQL, "", "\0", "\ud800", "x" * 100_000, 5, True, [], {}, {"a": 1}, 1.5]
    for value in values:
        for name in ("request_id", "change_set", "task_id"):
            yield f"{name} {value!r:.40}", _chosen(**{name: value})
        yield f"actor {value!r:.40}", _chosen(actor=value, since="2026-01-01T00:00:00Z")
    for text in (
        "{}",
        "[]",
        "null",
        '{"request_id": "x", "change_set": "x"}',
        '{"until": "2026-01-01T00:00:00Z"}',
        "x",
    ):
        yield f"undo {text}", raw.sized("POST", UNDO, text.encode())
    for flag in ("dry_run", "skip_conflicts"):
        for value in ("0", "1", '"true"', "null", "[]"):
            body = f'{{"request_id": "x", "{flag}": {value}}}'
            yield f"{flag} {value}", raw.sized("POST", UNDO, body.encode())


def ids() -> Iterator[Request]:
    """Ids that are none, in every path and filter that takes one."""
    values = {
        **{f"SQL {number}": quoted(text) for number, text in enumerate(SQL)},
        "a number": "1",
        "negative": "-1",
        "null": "null",
        "nil": str(UUID(int=0)),
        "all ones": str(UUID(int=2**128 - 1)),
        "in braces": f"%7B{NOBODY}%7D",
        "urn": f"urn:uuid:{NOBODY}",
        "no hyphens": NOBODY.replace("-", ""),
        "a line end": f"{NOBODY}%0d%0aX-Injected:%201",
        "U+0000": f"{NOBODY}%00",
        "Arabic digits": quoted("٠" * 8) + NOBODY[8:],
        "full width": quoted("０" * 8) + NOBODY[8:],
        "overlong": "%c0%ae%c0%ae%c0%af",
        "up": "..%2f..%2fetc%2fpasswd",
        "half an escape": "%",
        "no escape": "%zz",
        "3 kB": "a" * 3000,
        "a template": quoted("{{7*7}}${7*7}<%=7*7%>"),
        "a script": quoted("<script>alert(1)</script>"),
    }
    for name, value in values.items():
        yield f"GET id {name}", raw.request("GET", f"{TASKS}/{value}")
        yield f"PUT id {name}", raw.sized("PUT", f"{TASKS}/{value}", VALID)
        yield f"DELETE id {name}", raw.request("DELETE", f"{TASKS}/{value}")
        yield f"PATCH id {name}", raw.request("PATCH", f"{TASKS}/{value}/complete")
        yield f"HEAD id {name}", raw.request("HEAD", f"{TASKS}/{value}")
        yield f"filter {name}", raw.request("GET", f"{HISTORY}?task_id={value}")


def queries() -> Iterator[Request]:
    values = ["", "x", "0", "-1", "1.5", "1e9", "0x1", "+1", "%201", "9" * 20, f"-{'9' * 20}", "9" * 3900, "NaN", "%00"]
    values += ["%FF", quoted("１"), quoted("²"), "1&{name}=2", "[]", "1;2", "{}", "true", *map(quoted, SQL)]
    for name in ("page", "limit", "offset", "action_type", "sort", quoted(SQL[0]), "page[]", "__class__"):
        for value in values:
            query = f"{name}={value.replace('{name}', name)}"
            yield f"query {query[:40]}", raw.request("GET", f"{HISTORY}?{query}")
    hostile_times = ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "infinity", "epoch", "294277-01-01T00:00:00Z"]
    for path, names in PARAMETERS.items():
        for name in names:
            for value in [*values, *hostile_times, "%ED%A0%80", "W10", "bnVsbA", "e30"]:
                query = f"{name}={value.replace('{name}', name)}"
                yield f"query {path} {query[:40]}", raw.request("GET", f"{path}?limit=1&{query}")
    for value in [*values, "MQ", "MToxOi8", quoted("731:731:/"), "A" * 7000]:
        yield f"cursor {value[:20]}", raw.request("GET", f"{CHANGES}?after={value}")
        yield f"last event {value[:20]}", raw.request("HEAD", CHANGES, {**EVENTS, "Last-Event-ID": value})
        yield f"wait {value[:20]}", raw.request("HEAD", f"{CHANGES}?wait={value}")
    for query in ("&" * 3000, "=" * 3000, "page=1&" * 500, "%" * 1000, "?" * 1000, "a=b#c", "\xff=\xfe"):
        for path in (TASKS, HISTORY, TASK, "/api/v1/stats/weekly", "/api/v1/health", "/nothing"):
            yield f"query {path} {query[:10]!r}", raw.request("GET", f"{path}?{query}")


def targets() -> Iterator[Request]:
    up = ["..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e", "..%5c..", "%c0%ae%c0%ae", "....//", "..;", "..%00"]
    for step in up:
        for base, file in (("/", "etc/passwd"), ("/api/docs/", "settings.py"), ("/api/v1/health/", "tasks")):
            yield f"up {base}{step}", raw.request("GET", f"{base}{step}/{step}/{file}")
    for target in (
        "*",
        "//evil.example/api/v1/tasks",
        "http://evil.example/api/v1/tasks",
        "http://evil.example:99999/",
        "http://[::1/",
        "http://",
        "https://user:password@evil.example/api/v1/nothing",
        "evil.example:443",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "",
        "x",
        "?",
        "#",
        "/#/api/v1/tasks",
        "/%",
        "/%00",
        "/%zz",
        "/\xff\xfe",
        "/\\..\\..",
        "/api/v1/tasks/",
        "/api/v1//tasks",
        "/api%2fv1%2ftasks",
        "/API/V1/TASKS",
        "/api/v1/tasks;jsessionid=1",
        "/api/v1/tasks%20",
        "/api/v1/tasks%0d%0aSet-Cookie:%20a=b",
        "/api/v1/tasks/%ed%a0%80",
        "/console",
        "/.env",
        "/.git/config",
        "/metrics",
        "/server-status",
        f"/{'a/' * 1500}",
        f"/{'a' * 4000}",
        f"/{'a' * 100_000}",
        "/a b",
        "/a\tb",
        "/a\x00b",
    ):
        for method in ("GET", "POST", "HEAD"):
            yield f"{method} {target[:40]!r}", raw.request(method, target)


def methods() -> Iterator[Request]:
    names = [
        "TRACE",
        "TRACK",
        "CONNECT",
        "PROPFIND",
        "PURGE",
        "SEARCH",
        "get",
        "Post",
        "GETGET",
        "X",
        "M" * 20,
        "M" * 5000,
    ]
    names += ["G\x00T", "G\tT", "<script>", "GET\r", "\xe9", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "POST"]
    for name in names:
        for path in (TASKS, f"{TASKS}/nonsense", HISTORY, "/api/docs", "/"):
            if (name, path) != ("POST", TASKS):
                yield f"method {name[:20]!r} {path}", raw.request(name, path)
    for version in (
        "HTTP/0.9",
        "HTTP/1.0",
        "HTTP/1.9",
        "HTTP/2.0",
        "HTTP/9.9",
        "HTTP/11",
        "http/1.1",
        "HTTP/1.1x",
        "HTTP/",
    ):
        yield f"version {version}", f"GET {TASKS} {version}\r\nHost: x\r\n\r\n".encode()
    for line in (
        f"GET {TASKS}",
        "GET",
        " ",
        f" GET {TASKS} HTTP/1.1",
        f"GET  {TASKS}  HTTP/1.1",
        f"GET\t{TASKS}\tHTTP/1.1",
    ):
        yield f"first line {line!r}", f"{line}\r\nHost: x\r\n\r\n".encode()


def headers() -> Iterator[Request]:
    names = ["", " ", "a b", "a:b", "a\x00b", "\xe9", "(a)", "a\r", "a\nb: c", "\tfolded", "X" * 9000, "Content_Length"]
    values = ["\x00", "a\x00b", "a\rb", "a\nb", "a\r\n b", "\x7f\x01", "\xff" * 10, "v" * 9000, "v" * 100_000]
    for name in names:
        yield f"header {name[:20]!r}", raw.request("GET", TASKS, {name: "x"})
    for name in ("X", "Cookie", "Origin", "X-Request-Id", "Authorization", "Referer", "User-Agent", "Accept"):
        for value in values:
            yield f"{name}: {value[:10]!r}", raw.request("GET", TASKS, {name: value})
    for value in (
        "",
        "a b",
        "x:y",
        "x:99999",
        "[::1",
        "a" * 5000,
        "evil.example\x00",
        "x@y",
        "x/y",
        "x, y",
        "\xe9",
        "%00",
    ):
        yield f"Host: {value[:20]!r}", raw.request("GET", TASKS, {"Host": value})
    for origin in (
        "null",
        "http://localhost:3000.evil.example",
        "http://evil.example",
        "*",
        "http://localhost:3000\x00",
    ):
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "a" * 3000,
        }
        yield f"preflight {origin!r}", raw.request("OPTIONS", TASK, asked)
    for number in (101, 1000, 5000):
        yield f"{number} headers", raw.request("GET", TASKS, {f"X-{index}": "x" for index in range(number)})
    yield "no Host", f"GET {TASKS} HTTP/1.1\r\n\r\n".encode()
    yield "two Hosts", f"GET {TASKS} HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".encode()
    yield "no colon", f"GET {TASKS} HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n".encode()
    yield "line ends of Unix", f"GET {TASKS} HTTP/1.1\nHost: x\n\n".encode()
    for name, value in (
        ("Range", "bytes=0-0,1-1"),
        ("If-None-Match", "*"),
        ("Upgrade", "websocket"),
        ("Upgrade", "h2c"),
    ):
        yield (
            f"{name}: {value}",
            raw.request("GET", TASKS, {name: value, "Connection": "Upgrade", "HTTP2-Settings": "AA"}),
        )
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Proto"):
        yield name, raw.request("GET", TASK, {name: "DELETE"})


def framing() -> Iterator[Request]:
    """Bodies whose length is told wrongly, twice, or in two ways; what is behind them would be a valid write."""
    hidden = raw.sized("POST", TASKS, VALID)
    for length in (
        "",
        " ",
        "-1",
        "+14",
        "0x0e",
        "1e1",
        "14,14",
        "14, 15",
        "14;",
        "1_4",
        "\xb2",
        "9" * 30,
        "14 14",
        "x",
    ):
        yield (
            f"Content-Length {length[:10]!r}",
            raw.request("POST", TASKS, {**raw.JSON, "Content-Length": length}, VALID),
        )
    for coding in (
        "chunked, chunked",
        "identity, chunked",
        "chunked, identity",
        "gzip, chunked",
        "xchunked",
        "x",
        "chunked;q=1",
        "\x0bchunked",
        "chunked\x00",
        '"chunked"',
        "",
    ):
        sent = {**raw.JSON, "Transfer-Encoding": coding}
        yield f"Transfer-Encoding {coding!r}", raw.request("POST", TASKS, sent, b"5\r\n[1,2]\r\n0\r\n\r\n")
    both = {**raw.JSON, "Content-Length": "5", "Transfer-Encoding": "chunked"}
    yield "both, CL.TE", raw.request("POST", TASKS, both, b"0\r\n\r\n" + hidden)
    yield (
        "both, TE.CL",
        raw.request("POST", TASKS, {**both, "Content-Length": "4"}, b"5\r\n[1,2]\r\n0\r\n\r\n" + hidden),
    )
    yield "both, hidden case", raw.request("POST", TASKS, {**both, "transfer-encoding": "x"}, b"0\r\n\r\n" + hidden)
    for second in ("14", "0", "99"):
        twice = {**raw.JSON, "Content-Length": "14", "content-length": second}
        yield f"two Content-Lengths, {second}", raw.request("POST", TASKS, twice, b'{"title": 555}' + hidden)
    sent = {**raw.JSON, "Transfer-Encoding": "chunked"}
    chunks = ["zz\r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n", "0x2\r\n{}\r\n0\r\n\r\n", "+2\r\n{}\r\n0\r\n\r\n"]
    chunks += [
        "2_0\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}XX0\r\n\r\n",
        "f" * 40 + "\r\n{}",
        "2\n{}\n0\n\n",
    ]
    chunks += [
        f"2;{'x' * 9000}\r\n{{}}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nX: y\r\n\r\n",
        "2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n",
    ]
    chunks += [
        "2\r\n{}\r\n",
        "2\r\n{}\r\n0\r\n",
        "2\r\n{",
        "2",
        "",
        "0\r\n\r\n",
        f"0\r\n{'X: y' * 5000}\r\n\r\n",
        "2 \r\n{}\r\n0\r\n\r\n",
    ]
    for chunk in chunks:
        yield f"chunk {chunk[:30]!r}", raw.request("POST", TASKS, sent, chunk.encode())
    yield "a body that ends early", raw.request("POST", TASKS, {**raw.JSON, "Content-Length": "99"}, VALID)
    yield "Expect", raw.sized("POST", TASKS, b"[]", {**raw.JSON, "Expect": "100-continue"})
    yield "Expect nonsense", raw.sized("POST", TASKS, b"[]", {**raw.JSON, "Expect": "200-ok"})
    yield "a body of GET", raw.sized("GET", TASKS, b"[" * 10_000)
    yield "a body of DELETE", raw.sized("DELETE", f"{TASKS}/{NOBODY}", b"[" * 10_000)
    yield "a body of PATCH", raw.sized("PATCH", f"{TASK}/incomplete", b"[" * 10_000)


def other_protocols() -> Iterator[Request]:
    """What is not HTTP at all, or not of this version."""
    chance = random.Random(1)
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    yield "TLS", bytes.fromhex("16030100a5010000a10303") + bytes(160)
    yield "SSH", b"SSH-2.0-OpenSSH_9.6\r\n"
    yield "PostgreSQL", bytes.fromhex("0000000804d2162f")
    yield "SOCKS", bytes.fromhex("050100")
    yield "PROXY", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n" + raw.request("GET", TASKS)
    yield "PROXY, binary", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + raw.request("GET", TASKS)
    yield "SIP", b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n"
    yield "an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    yield "line ends", b"\r\n" * 1000
    yield "U+0000", bytes(1000)
    yield "one letter", b"G"
    yield "64 kB of letters", b"A" * 65536
    yield "nothing", b""
    for number in range(10):
        yield f"chance {number}", chance.randbytes(500) + b"\r\n\r\n"
        printable = "".join(chance.choices(string.printable, k=500))
        yield f"letters {number}", f"GET {printable} HTTP/1.1\r\n{printable}\r\n\r\n".encode()


GROUPS = [writes, undos, ids, queries, targets, methods, headers, framing, other_protocols]

SILENT = {f"other_protocols: {name}" for name in ("TLS", "PostgreSQL", "SOCKS", "U+0000", "one letter", "nothing")}
"""What has no first line of a request: nobody is there who could read an answer in HTTP."""

CORPUS = [(f"{group.__name__}: {name}", data) for group in GROUPS for name, data in group()]
