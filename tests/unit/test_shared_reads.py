"""Reads that followers share, without a database: who asks it, who takes what was read, and for how long."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskapi.cursors import Cursor, Snapshot
from taskapi.deadline import deadline
from taskapi.errors import ConnectFailed, PoolBusy
from taskapi.repository.changes import Changes
from taskapi.web import shared_reads as module
from taskapi.web.feeds import Batch
from taskapi.web.shared_reads import SharedReads, Wanted
from tests.support.waiting import wait_until


class Database:
    """Answers with so many bytes, which tell who has asked. It waits while it is not `open`."""

    def __init__(self) -> None:
        self.asked: list[Wanted] = []
        self.size = 100
        self.has_more = True
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def read(self, wanted: Wanted) -> Batch:
        self.asked.append(wanted)
        assert self.open.wait(10)
        if self.error:
            raise self.error
        items = (wanted.owner.encode().ljust(self.size),) if self.size else ()
        return Batch(wanted.after, Changes(items, (1,) * len(items), CURSOR, self.has_more))


CURSOR = Cursor(Snapshot(11, 11), None)
ANNS = Wanted("ann", CURSOR, 100)


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.open.set()


@pytest.fixture
def reads(database: Database) -> SharedReads:
    return SharedReads(database.read, patience=10)


def test_one_asks_and_the_others_wait(reads: SharedReads, database: Database) -> None:
    database.open.clear()
    database.size = 0
    with ThreadPoolExecutor(20) as threads:
        found = [threads.submit(reads.get, ANNS) for _ in range(20)]
        wait_until(lambda: all(one.running() for one in found) and database.asked, "all have asked")
        # Where one has not come to its wait yet, it asks by itself: what is empty is not kept.
        batches = database.asked.copy()
        database.open.set()
        assert len({id(one.result()[0]) for one in found}) == len(database.asked)
        assert len(batches) == 1
        assert all(is_new for _, is_new in (one.result() for one in found))


def test_others_take_it_for_a_while(reads: SharedReads, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH", 0.05)
    batch, is_new = reads.get(ANNS)
    assert is_new
    while (again := reads.get(ANNS))[0] is batch:
        assert not again[1]
    assert again[1]
    assert len(database.asked) == 2


@pytest.mark.parametrize(("has_more", "count"), [(True, 1), (False, 2)])
def test_what_ends_with_the_newest_change_is_soon_out_of_date(
    has_more: bool, count: int, reads: SharedReads, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_END", 0.0)
    database.has_more = has_more
    for _ in range(2):
        reads.get(ANNS)
    assert len(database.asked) == count


def test_nothing_is_not_kept(reads: SharedReads, database: Database) -> None:
    database.size = 0
    for _ in range(2):
        reads.get(ANNS)
    assert len(database.asked) == 2


@pytest.mark.parametrize("other", [Wanted("bob", CURSOR, 100), Wanted("ann", None, 100), Wanted("ann", CURSOR, 99)])
def test_only_for_the_same(other: Wanted, reads: SharedReads, database: Database) -> None:
    reads.get(ANNS)
    (item,) = reads.get(other)[0].changes.items
    assert item.strip().decode() == other.owner
    assert database.asked == [ANNS, other]


def test_after_an_error_each_one_tries(reads: SharedReads, database: Database) -> None:
    database.open.clear()
    database.error = ConnectFailed()
    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(reads.get, ANNS) for _ in range(2)]
        wait_until(lambda: all(one.running() for one in found) and database.asked, "both have asked")
        database.open.set()
        for one in found:
            with pytest.raises(ConnectFailed):
                one.result()
    assert len(database.asked) == 2
    database.error = None
    assert reads.get(ANNS)[1]


@pytest.mark.parametrize("limit", ["patience", "deadline"])
def test_a_wait_for_another_one_is_no_longer_than_allowed(limit: str, database: Database) -> None:
    reads = SharedReads(database.read, patience=0.05 if limit == "patience" else 10)
    database.open.clear()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(reads.get, ANNS)
        wait_until(lambda: database.asked, "the first one has asked")
        token = deadline.set(time.monotonic() + (0.05 if limit == "deadline" else 10))
        with pytest.raises(PoolBusy):
            reads.get(ANNS)
        deadline.reset(token)
        database.open.set()
        assert first.result()[1]


def test_only_so_much_is_kept(reads: SharedReads, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest one goes first, and what is too large itself sends no other one away."""
    monkeypatch.setattr(module, "KEPT", 350)
    wanted = [Wanted("ann", CURSOR, limit) for limit in range(10)]
    for one in wanted:
        reads.get(one)
    database.size = 351
    reads.get(ANNS)
    database.size = 100
    assert [reads.get(one)[1] for one in wanted[-3:]] == [False] * 3
    assert reads.get(ANNS)[1]
    assert reads.get(wanted[0])[1]
