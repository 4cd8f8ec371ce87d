"""The CHECKs of tasks: the database itself refuses what the contract does not allow, whoever writes."""

import sys
from collections.abc import Iterator
from uuid import uuid4

import psycopg2
import pytest

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
    "a zero-width space is no white space": {"title": "\u200b"},
    "no description": {"description": None},
    "an empty description": {"description": ""},
    "5000 emoji": {"description": "🎉" * 5000},
    "completed": {"is_completed": True, "completed_at": "2026-01-05T10:00:00Z"},
}

REFUSED = {
    "no title": ({"title": None}, psycopg2.errors.NotNullViolation, "title"),
    "an empty title": ({"title": ""}, psycopg2.errors.CheckViolation, "tasks_title_not_blank"),
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


def test_white_space_is_what_python_takes_for_white_space(sql: Sql) -> None:
    # U+0000 and surrogates are not text to Postgres.
    characters = [chr(code) for code in range(1, 0x10000) if not 0xD800 <= code <= 0xDFFF]
    space = [character for character in characters if character.isspace()]
    assert not any(chr(code).isspace() for code in range(0x10000, sys.maxunicode + 1))
    blank = sql.value("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'tasks_title_not_blank'")
    # The constraint itself, tried on each character.
    refused = sql.rows(
        f"SELECT title FROM unnest(%s) AS title WHERE NOT ({blank.removeprefix('CHECK ')})", (characters,)
    )
    assert [title for (title,) in refused] == space


def test_an_id_is_made_by_the_database(sql: Sql) -> None:
    sql.execute("BEGIN")
    made = sql.value("INSERT INTO tasks (title, created_at, updated_at) VALUES ('x', now(), now()) RETURNING id::text")
    sql.execute("ROLLBACK")
    assert made[14] == "4", "a random UUID"
    assert made[19] in "89ab"
