"""Bodies that a hostile client sends in place of a task: a name for each, and its bytes."""

import json
from collections.abc import Iterator

SQL = [
    "' OR 1=1 --",
    "'; DROP TABLE tasks; --",
    "x'); DELETE FROM task_history; --",
    "$$; SELECT pg_sleep(60); $$",
    "%(title)s %s %% %n",
    "\\'; TRUNCATE tasks; --",
    "1 UNION SELECT version_num FROM alembic_version",
    "COPY tasks TO PROGRAM 'id'",
]


def bodies() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no JSON, or break a rule, in place of a new task and of a change."""
    deep = 10_000
    values = {
        "a whole number": b"5",
        "a fraction": b"1.5",
        "a number beyond a double": b"1e999",
        "5,000 digits": b"9" * 5000,
        "5,000 digits of a fraction": b"0." + b"9" * 5000,
        "true": b"true",
        "an array": b'["x"]',
        "an object": b'{"x": {"y": []}}',
        "deep arrays": b"[" * deep + b"]" * deep,
        "deep objects": b'{"a":' * deep + b"1" + b"}" * deep,
        "NaN": b"NaN",
        "-Infinity": b"-Infinity",
        "nothing": b"",
        "undefined": b"undefined",
        "a function": b"alert(1)",
        "U+0000": rb'"\u0000"',
        "a raw U+0000": b'"\x00"',
        "a raw line end": b'"a\r\nb"',
        "a lone surrogate": rb'"\ud83d"',
        "surrogates the wrong way": rb'"\ude00\ud83d"',
        "an encoded surrogate": b'"\xed\xa0\x80"',
        "an overlong slash": b'"\xc0\xaf"',
        "an overlong U+0000": b'"\xe0\x80\x80"',
        "beyond U+10FFFF": b'"\xf4\x90\x80\x80"',
        "half a character": b'"\xf0\x9f\x98"',
        "half an escape": rb'"\u12"',
        "100,000 letters": b'"' + b"x" * 100_000 + b'"',
    }
    for name, value in values.items():
        yield f"title: {name}", b'{"title": ' + value + b"}"
        yield f"description: {name}", b'{"title": "x", "description": ' + value + b"}"
        yield f"unknown: {name}", b'{"title": "x", "colour": ' + value + b"}"
        yield f"all of it: {name}", value
    for name in (
        "id",
        "version",
        "is_completed",
        "updated_at",
        "snapshot",
        "__proto__",
        "constructor",
        "_schema",
        *SQL,
    ):
        yield f"field {name}", json.dumps({"title": "x", name: None}).encode()
    for name, value in (
        ("null", b"null"),
        ("empty", b'""'),
        ("blank", rb'"\u2003\t"'),
        ("256", b'"%s"' % (b"x" * 256)),
    ):
        yield f"title: {name}", b'{"title": ' + value + b"}"
    for encoding in ("utf-16", "utf-16-be", "utf-32", "cp037", "utf-8-sig"):
        yield f"in {encoding}", '{"title": "é"}'.encode(encoding)
    yield "more than the limit", b'{"title": "' + b"x" * 1_100_000 + b'"}'
    yield "a thousand fields", json.dumps({f"field {number}": number for number in range(1000)}).encode()
    yield "the same field, then a wrong one", b'{"title": "x", "title": 5}'
