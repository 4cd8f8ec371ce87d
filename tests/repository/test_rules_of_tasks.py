"""The rules of tasks: the database itself refuses what the contract does not allow, whoever writes."""

import sys
import unicodedata
from collections.abc import Iterator
from uuid import uuid4

import psycopg2
import pytest

from taskapi.schemas.fields import VISIBLE
from tests.support.sql import Sql

DEFAULTS = {
    "id": str(uuid4()),
    "title": "Buy milk",
    "description": None,
    "is_completed": False,
    "created_at": "2026-01-05T10:00:00Z",
    "updated_at": "2026-01-05T10:00:00Z",
    "completed_at": None,
    "version": 1,
}


@pytest.fixture(scope="module")
def sql(module_database_url: str) -> Iterator[Sql]:
    with Sql(module_database_url) as connection:
        yield connection


def insert(sql: Sql, **values: object) -> None:
    """Write a row in a transaction that is undone: what refuses it is a CHECK, for the triggers wait for the commit."""
    row = {**DEFAULTS, **values}
    sql.execute("BEGIN")
    try:
        sql.execute(f"INSERT INTO tasks ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    finally:
        sql.execute("ROLLBACK")


TAKEN = {
    "one character": {"title": "x"},
    "255 characters": {"title": "x" * 255},
    "255 emoji": {"title": "🎉" * 255},
    "white space around text": {"title": "\n x \t"},
    "no description": {"description": None},
    "an empty description": {"description": ""},
    "5000 emoji": {"description": "🎉" * 5000},
    "completed": {"is_completed": True, "completed_at": "2026-01-05T10:00:00Z"},
}

REFUSED = {
    "no title": ({"title": None}, psycopg2.errors.NotNullViolation, "title"),
    "256 characters": ({"title": "x" * 256}, psycopg2.errors.CheckViolation, "tasks_title_length"),
    "256 emoji": ({"title": "🎉" * 256}, psycopg2.errors.CheckViolation, "tasks_title_length"),
    "5001 characters": ({"description": "x" * 5001}, psycopg2.errors.CheckViolation, "tasks_description_length"),
    "5001 emoji": ({"description": "🎉" * 5001}, psycopg2.errors.CheckViolation, "tasks_description_length"),
    "completed at no time": (
        {"is_completed": True},
        psycopg2.errors.CheckViolation,
        "tasks_completed_at_while_completed",
    ),
    "a time, and not completed": (
        {"completed_at": "2026-01-05T10:00:00Z"},
        psycopg2.errors.CheckViolation,
        "tasks_completed_at_while_completed",
    ),
    "neither completed nor not": ({"is_completed": None}, psycopg2.errors.NotNullViolation, "is_completed"),
    "never created": ({"created_at": None}, psycopg2.errors.NotNullViolation, "created_at"),
    "never updated": ({"updated_at": None}, psycopg2.errors.NotNullViolation, "updated_at"),
    "no version": ({"version": None}, psycopg2.errors.NotNullViolation, "version"),
    "version 0": ({"version": 0}, psycopg2.errors.CheckViolation, "tasks_version_positive"),
    "an id that is no UUID": ({"id": "1"}, psycopg2.errors.InvalidTextRepresentation, "uuid"),
}


@pytest.mark.parametrize("values", TAKEN.values(), ids=TAKEN)
def test_taken(values: dict[str, object], sql: Sql) -> None:
    insert(sql, **values)


@pytest.mark.parametrize(("values", "error", "name"), REFUSED.values(), ids=REFUSED)
def test_refused(values: dict[str, object], error: type[psycopg2.Error], name: str, sql: Sql) -> None:
    with pytest.raises(error, match=name):
        insert(sql, **values)


BLANK = {
    "nothing": "",
    "a space": " ",
    "a zero-width space": "\u200b",
    "a byte order mark": "\ufeff",
    "a soft hyphen": "\u00ad",
    "fillers": "\u115f\u1160\u3164\uffa0",
    "Braille": "\u2800",
    "variation selectors": "\ufe00\ufe0f",
    "control characters": "\x01\x1f\x7f\x85",
    "joiners and marks of direction": "\u200c\u200d\u200e\u202e\u2060\u2066",
}


def create(sql: Sql, title: str) -> None:
    """A task and its entry, in one transaction: when it ends, the triggers look."""
    with sql.transaction():
        row = sql.value(
            "INSERT INTO tasks (title, created_at, updated_at) VALUES (%s, now(), now()) RETURNING id", (title,)
        )
        sql.execute(
            "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " VALUES (%s, 'CREATED', '', now(), 1, '{}')",
            (row,),
        )


@pytest.mark.parametrize("title", BLANK.values(), ids=BLANK)
def test_a_title_that_shows_nothing(title: str, sql: Sql) -> None:
    assert not VISIBLE.search(title)
    with pytest.raises(psycopg2.errors.CheckViolation) as refused:
        create(sql, title)
    assert refused.value.diag.constraint_name == "tasks_title_visible"


def test_python_and_the_database_agree_on_what_shows_nothing(sql: Sql) -> None:
    # What the triggers ask, tried on each character. U+0000 and surrogates are not text to Postgres.
    refused = sql.rows(
        "SELECT code FROM generate_series(1, 1114111) AS code"
        " WHERE NOT code BETWEEN 55296 AND 57343 AND NOT is_visible(chr(code)) ORDER BY code"
    )
    characters = [code for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    assert [code for (code,) in refused] == [code for code in characters if not VISIBLE.search(chr(code))]


def test_what_shows_nothing_has_no_letter_and_all_white_space() -> None:
    blank = [character for character in map(chr, range(sys.maxunicode + 1)) if not VISIBLE.search(character)]
    # Of the fillers, Unicode says that they are letters, of Braille's blank that it is a symbol; of 034F, 17B4 and 180B
    # to 180F and the variation selectors that they are marks; U+2065 and U+FFF0 to U+FFF8 are not assigned yet.
    kinds = {unicodedata.category(character) for character in blank}
    assert kinds == {"Cc", "Cf", "Cn", "Lo", "Mn", "So", "Zl", "Zp", "Zs"}
    named = "".join(c for c in blank if unicodedata.category(c) in ("Lo", "So"))
    assert named == "\u115f\u1160\u2800\u3164\uffa0"
    for character in map(chr, range(sys.maxunicode + 1)):
        if character.isspace() or unicodedata.category(character) == "Cc":
            assert character in blank


def test_an_id_is_made_by_the_database(sql: Sql) -> None:
    sql.execute("BEGIN")
    made = sql.value("INSERT INTO tasks (title, created_at, updated_at) VALUES ('x', now(), now()) RETURNING id::text")
    sql.execute("ROLLBACK")
    assert made[14] == "4", "a random UUID"
    assert made[19] in "89ab"
