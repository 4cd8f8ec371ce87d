"""Cursors, and the links that carry them: each is read back, and nothing else is read."""

import base64
import json
import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from marshmallow import ValidationError

from taskapi.cursors import position_cursor
from taskapi.keyset import FOREIGN, OTHER_FILTERS, cursor_after, digest, place_of
from taskapi.schemas.fields import Moment, Truth
from taskapi.web import listed
from taskapi.web.links import link, next_page

ENTRY = "6f1c1b0e-3c1d-4a55-9a51-0d2f3c7f6a10"
MOMENT = "2026-11-25T07:30:11.000001Z"


def test_a_cursor_is_read_back() -> None:
    filters = {"text": "milk", "is_completed": False}
    for is_completed, position in ((True, None), (False, position_cursor("734:734:/"))):
        cursor = cursor_after(filters, moment=MOMENT, entry=ENTRY, is_completed=is_completed, position=position)
        place = place_of(cursor, filters, states=True)
        assert (place.entry, place.is_completed, place.position) == (UUID(ENTRY), is_completed, position)
        assert place.moment.isoformat() == "2026-11-25T07:30:11.000001+00:00"


def test_one_of_other_filters_is_refused() -> None:
    cursor = cursor_after({"text": "milk"}, moment=MOMENT, entry=ENTRY)
    for filters in ({}, {"text": "Milk"}, {"text": "milk", "is_completed": True}, {"is_completed": True}):
        with pytest.raises(ValueError, match=re.escape(OTHER_FILTERS)):
            place_of(cursor, filters, states=False)


JUNK: list[Any] = ["", "x", 1, 1e400, [], {}, "\0", "2026-02-30T00:00:00.000000Z", "0000-01-01T00:00:00.000000Z"]


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


GOOD = [digest({}), MOMENT, ENTRY, True, None]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "=",
        "é",
        "\ud800",
        "a" * 5000,
        "[]",
        encoded([]),
        encoded({}),
        encoded(None),
        encoded("text"),
        encoded([*GOOD, 1]),
        encoded(GOOD[:-1]),
        encoded(GOOD) + "=",
        encoded(GOOD) + "\n",
        *(encoded([*GOOD[:place], value, *GOOD[place + 1 :]]) for place in range(1, 5) for value in JUNK),
        encoded([*GOOD[:3], None, None]),
        encoded([*GOOD[:1], "2026-11-25T07:30:11Z", *GOOD[2:]]),
        encoded([*GOOD[:1], "2026-11-25T07:30:11.000001+01:00", *GOOD[2:]]),
        encoded([*GOOD[:2], ENTRY.upper(), *GOOD[3:]]),
    ],
    ids=lambda cursor: ascii(cursor[:60]),
)
def test_one_from_nowhere_is_refused(cursor: str) -> None:
    assert place_of(encoded(GOOD), {}, states=True)
    with pytest.raises(ValueError, match=re.escape(FOREIGN)):
        place_of(cursor, {}, states=True)


def test_one_of_the_history_is_none_of_the_list() -> None:
    with pytest.raises(ValueError, match=re.escape(FOREIGN)):
        place_of(encoded(GOOD), {}, states=False)
    with pytest.raises(ValueError, match=re.escape(FOREIGN)):
        place_of(cursor_after({}, moment=MOMENT, entry=ENTRY), {}, states=True)


def test_a_link_keeps_the_parameters_of_the_request() -> None:
    app = Flask("links")
    asked = "/tasks?text=a%26b%20%3E%3C%22%C3%A9&limit=5&cursor=old&page="
    with app.test_request_context(asked, base_url="http://x/the%20prefix"):
        assert next_page("/tasks", "new") == (
            '</the%20prefix/tasks?text=a%26b%20%3E%3C%22%C3%A9&limit=5&cursor=new>; rel="next"'
        )
        assert next_page("/tasks", "new", without=frozenset({"text"})).count("text") == 0
        assert link("monitor", "/changes", {"after": "x"}) == '</the%20prefix/changes?after=x>; rel="monitor"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T07:30:11Z", "2026-11-25T07:30:11+00:00"),
        ("2026-11-25t07:30:11.5z", "2026-11-25T07:30:11.500000+00:00"),
        ("2026-11-25T07:30:11.000001+05:30", "2026-11-25T02:00:11.000001+00:00"),
        ("2026-11-25T07:30:11-00:00", "2026-11-25T07:30:11+00:00"),
        ("2026-11-25T07:30:11.123456000Z", "2026-11-25T07:30:11.123456+00:00"),
        ("2026-11-25T07:30:11.123456001Z", "2026-11-25T07:30:11.123457+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_a_moment(text: str, expected: str) -> None:
    assert Moment().deserialize(text).isoformat() == expected


def test_a_moment_that_is_rounded_down() -> None:
    assert Moment(floor=True).deserialize("2026-11-25T07:30:11.123456999Z").microsecond == 123456


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-25",
        "2026-11-25T07:30:11",
        "2026-11-25 07:30:11Z",
        "2026-11-25T07:30Z",
        "2026-11-25T07:30:11 01:00",
        "2026-11-25T07:30:11+0100",
        "2026-11-25T07:30:11+24:00",
        "2026-11-25T07:30:11.Z",
        "9999-12-31T23:59:59.9999999Z",
        "2026-02-30T00:00:00Z",
        "2026-11-25T24:00:00Z",
        "2026-11-25T07:30:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢026-11-25T07:30:11Z",
        "2026-11-25T07:30:11Z\n",
        "infinity",
        5,
        True,
        [],
    ],
)
def test_no_moment(text: Any) -> None:
    with pytest.raises(ValidationError, match="must be a time with its offset, such as 2026"):
        Moment().deserialize(text)


def test_a_truth() -> None:
    assert (Truth().deserialize("true"), Truth().deserialize("false")) == (True, False)
    wrong: list[Any] = ["", "True", "1", "yes", "null", 1, True, []]
    for text in wrong:
        with pytest.raises(ValidationError, match="must be true or false"):
            Truth().deserialize(text)


def test_the_longest_cursor_is_read_back() -> None:
    position = position_cursor(f"1:2000:{','.join(map(str, range(1, 1600, 5)))}/{ENTRY}")
    assert listed.LONGEST - 100 < len(position) <= listed.LONGEST
    cursor = cursor_after({}, moment=MOMENT, entry=ENTRY, is_completed=False, position=position)
    assert place_of(cursor, {}, states=True).position == position
