"""Cursors: they come back as they were, and what no answer can have given is refused before Postgres sees it."""

import random
from base64 import urlsafe_b64encode
from uuid import UUID

import pytest

from taskapi.cursors import LONGEST, WRAP, Cursor, Place, Snapshot, position_cursor

ID = "6f1c1b0e-3c1d-4a55-9a51-0d2f3c7f6a10"
TIME = "2026-11-26T07:30:11.000001Z"


def snapshot(chance: random.Random) -> Snapshot:
    xmin = chance.choice([1, 3, 731, 2**32 + 5, 10**15, 2**63 - 10**6])
    xmax = xmin + chance.choice([0, 1, 100, 5000])
    numbers = sorted(chance.sample(range(xmin, xmax), min(xmax - xmin, chance.randrange(100))))
    return Snapshot(xmin, xmax, tuple(numbers))


@pytest.mark.parametrize("seed", range(200))
def test_a_cursor_comes_back_as_it_was(seed: int) -> None:
    chance = random.Random(seed)
    newest = str(UUID(int=chance.getrandbits(128))) if chance.random() < 0.8 else None
    place = Place(snapshot(chance), TIME, ID) if chance.random() < 0.5 else None
    cursor = Cursor(snapshot(chance), newest, place)
    assert Cursor.parse(str(cursor)) == cursor
    assert Snapshot.parse(str(cursor.upto)) == cursor.upto
    assert str(cursor).isascii()
    assert not set(str(cursor)) & set("+/=&? ")


@pytest.mark.parametrize("position", ["731:731:/", f"731:740:731,733,739/{ID}"])
def test_a_position_of_the_database_is_a_cursor(position: str) -> None:
    cursor = Cursor.parse(position_cursor(position))
    assert f"{cursor.upto}/{cursor.newest or ''}" == position
    assert cursor.place is None


def test_five_hundred_transactions_in_progress_fit() -> None:
    """Twice, as in the middle of a batch, and 20 others between each two."""
    many = Snapshot(10**12, 10**12 + 10_000, tuple(range(10**12, 10**12 + 10_000, 20)))
    text = str(Cursor(many, ID, Place(many, TIME, ID)))
    assert len(text) < LONGEST
    assert Cursor.parse(text).upto == many


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"731:731:/{ID}/",
        f"731:731:/{ID[:-1]}",
        f"731:731:/{ID.upper()}",
        f"731:731:/{ID}/731:731:",
        f"731:731:/{ID}/731:731:/{TIME}",
        f"731:731:/{ID}/731:731:/{TIME}/{ID}/",
        f"731:731:/{ID}/731:731:/2026-02-30T07:30:11.000001Z/{ID}",
        f"731:731:/{ID}/731:731:/2026-11-26T25:30:11.000001Z/{ID}",
        f"731:731:/{ID}/731:731:/0000-11-26T07:30:11.000001Z/{ID}",
        f"731:731:/{ID}/731:731:/-infinity/{ID}",
        "731:731",
        "731:731:",
        "0:731:/",
        "731:0:/",
        "731:730:/",
        "-1:731:/",
        "731:731:0/",
        "731:740:9/",
        "731:740:4,5/",
        "731:740:1,0/",
        "731:740:1,-1/",
        "731:740:1,/",
        "731:740:,1/",
        "731:740: 1/",
        "731:740:1\n/",
        "731:740:1/\n",
        "７31:740:/",
        f"731:{2**63}:/",
        f"{WRAP}:{WRAP + 1}:/",
        f"731:{WRAP}:/",
        f"{'9' * 30}:{'9' * 30}:/",
    ],
)
def test_what_no_answer_can_have_given_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Cursor.parse(urlsafe_b64encode(text.encode()).decode().rstrip("="))


@pytest.mark.parametrize(
    "text", ["", "731:731:/", "NzMxOjczMTov=", "NzMxOjczMTo+", "é", "A", "\0", "A" * (LONGEST + 1)]
)
def test_so_is_what_is_no_base64(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Cursor.parse(text)


def test_what_a_snapshot_sees() -> None:
    seen = Snapshot(731, 740, (731, 735))
    assert [number for number in range(729, 742) if seen.sees(number)] == [729, 730, 732, 733, 734, 736, 737, 738, 739]


def test_a_later_snapshot_has_the_greater_age() -> None:
    in_order = ["731:731:", "731:735:731,733", "731:735:731", "735:735:", "735:736:735", "736:736:"]
    ages = [Snapshot.parse(text).age for text in in_order]
    assert ages == sorted(set(ages))
