"""Those who follow the changes, without a database: who reads, how often, and what each one gets."""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from taskapi.callers import ANYBODY, OWNER, Caller
from taskapi.cursors import Cursor, Place, Snapshot
from taskapi.deadline import deadline
from taskapi.errors import ConnectFailed, CursorGone, PoolBusy, RolledBack, TooManyFollowers
from taskapi.repository.changes import Changes
from taskapi.settings import Settings
from taskapi.web import followers as module
from taskapi.web import shared_reads
from taskapi.web.followers import Follower, Followers
from tests.support.waiting import wait_until


class History:
    """A source whose entries are numbers: each one that of its transaction. It notes how it is read.

    A cursor behind its last entry is gone.
    """

    def __init__(self) -> None:
        self.last = 10
        self.reads: list[tuple[int, int]] = []
        self.most_at_once = 0
        self.error: Exception | None = None
        self._reading = 0
        self._lock = threading.Lock()
        self._others: dict[str, History] = {}
        self.asked: list[set[str]] = []
        self.refusal: Exception | None = None

    def of(self, owner: str) -> "History":
        return self if owner == OWNER else self._others.setdefault(owner, History())

    def owners_with_news(self, seen: Mapping[str, Snapshot]) -> set[str]:
        self.asked.append(set(seen))
        if self.refusal:
            raise self.refusal
        return {owner for owner, snapshot in seen.items() if self.of(owner).last >= snapshot.xmax}

    def write(self, count: int = 1) -> None:
        with self._lock:
            self.last += count

    def list_changes(self, *, after: Cursor | None, limit: int) -> Changes:
        with self._lock:
            self._reading += 1
            self.most_at_once = max(self.most_at_once, self._reading)
            last = self.last
        time.sleep(0.001)
        with self._lock:
            self._reading -= 1
            if self.error:
                raise self.error
        start = place_of(after)
        if start > last:
            raise CursorGone
        self.reads.append((start, limit))
        until = after.upto.xmax - 1 if after and after.place else last
        numbers = range(start + 1, until + 1)[:limit]
        cursor = cursor_at(until)
        if has_more := len(numbers) < until - start:
            cursor = Cursor(cursor.upto, None, Place(cursor_at(start).upto, "", str(numbers[-1])))
        return Changes(tuple(b"%d" % number for number in numbers), tuple(numbers), cursor, has_more)


def place_of(cursor: Cursor | None) -> int:
    if cursor is None:
        return 0
    return int(cursor.place.task_id) if cursor.place else cursor.upto.xmax - 1


def cursor_at(last: int) -> Cursor:
    """The cursor of who has seen all up to this entry."""
    return Cursor(Snapshot(last + 1, last + 1), None)


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def all_of_them(history: History, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followers]:
    monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr(module, "PAUSE", 0.05)
    made = Followers(history, Settings(max_streams=50))
    yield made
    made.end()


def numbers(follower: Follower, count: int, limit: int = 100) -> list[int]:
    """The next changes, as many as this at least."""
    found: list[int] = []
    while len(found) < count:
        items = follower.next(limit, 10, most=1000).changes.items
        assert items, f"no more than {found}"
        found += map(int, items)
    return found


def test_nothing_is_read_for_nobody(all_of_them: Followers, history: History) -> None:
    assert not history.reads
    with all_of_them.join(ANYBODY, None) as follower:
        assert numbers(follower, 10) == list(range(1, 11))
        follower.next(100, 0.05)
        before = len(history.reads)
        wait_until(lambda: len(history.reads) > before, "the changes are read")
    wait_until(lambda: not all_of_them._is_reading, "the reader has ended")
    before = len(history.reads)
    all_of_them.pause(5 * module.POLL)
    assert len(history.reads) == before
    with all_of_them.join(ANYBODY, cursor_at(10)) as follower:
        history.write()
        assert numbers(follower, 1) == [11]


def test_one_reads_for_all_and_each_gets_each_change_once(all_of_them: Followers, history: History) -> None:
    def follow(first: int) -> list[int]:
        with all_of_them.join(ANYBODY, cursor_at(first)) as follower:
            return numbers(follower, 210 - first, limit=7)

    starts = [*range(11), *[10] * 20]
    with ThreadPoolExecutor(len(starts)) as threads:
        found = [threads.submit(follow, first) for first in starts]
        for _ in range(200):
            history.write()
            time.sleep(0.001)
        assert [one.result() for one in found] == [list(range(first + 1, 211)) for first in starts]
    assert history.most_at_once == 1


def test_who_has_caught_up_reads_no_more(all_of_them: Followers, history: History) -> None:
    joined = [all_of_them.join(ANYBODY, cursor_at(10)) for _ in range(20)]
    for follower in joined:
        follower.next(77)
    for number in range(11, 20):
        history.write()
        assert [numbers(follower, 1, limit=77) for follower in joined] == [[number]] * 20
    assert len([read for read in history.reads if read[1] == 77]) == 20


def test_a_follower_who_is_later_than_what_is_read_for_all(all_of_them: Followers, history: History) -> None:
    """It has read by itself what is then read for all."""
    with all_of_them.join(ANYBODY, cursor_at(10)) as first, all_of_them.join(ANYBODY, None) as second:
        first.next(100)
        first.next(100, 0.05)
        with all_of_them._turn:
            history.write(3)
            changes = history.list_changes(after=None, limit=100)
            second._cursor, second._era = changes.cursor, all_of_them.era
            history.write(2)
        assert numbers(second, 2) == [14, 15]
        assert numbers(first, 5) == [11, 12, 13, 14, 15]


def test_more_than_is_kept_each_one_reads(
    all_of_them: Followers, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 50)
    with all_of_them.join(ANYBODY, cursor_at(10)) as first, all_of_them.join(ANYBODY, cursor_at(10)) as second:
        for follower in (first, second):
            follower.next(10, 0.05)
        history.write(500)
        for follower in (first, second):
            assert numbers(follower, 500, limit=100) == list(range(11, 511))
        history.write()
        assert [numbers(follower, 1) for follower in (first, second)] == [[511], [511]]


def test_those_who_are_behind_at_the_same_place_read_once(
    all_of_them: Followers, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a deploy, everybody is. If each one read, they would not catch up where much is written."""
    monkeypatch.setattr(shared_reads, "FRESH_END", 5.0)
    history.write(500)
    joined = [all_of_them.join(ANYBODY, cursor_at(10)) for _ in range(20)]
    with ThreadPoolExecutor(len(joined)) as threads:
        found = list(threads.map(lambda follower: numbers(follower, 500, limit=50), joined))
    assert found == [list(range(11, 511))] * 20
    assert [read for read in history.reads if read[1] == 50] == [(first, 50) for first in range(10, 510, 50)]


def test_who_takes_what_another_one_has_read_asks_before_it_follows(all_of_them: Followers, history: History) -> None:
    """Meanwhile, the database may have been set back, and another one follows it from an earlier place."""
    first, second, third = (all_of_them.join(ANYBODY, after) for after in (cursor_at(5), cursor_at(5), None))
    assert numbers(first, 5) == [6, 7, 8, 9, 10]
    history.last = 7
    assert numbers(third, 7) == list(range(1, 8))
    assert not third.next(100, 0.05).changes.items
    assert numbers(second, 5) == [6, 7, 8, 9, 10]
    with pytest.raises(CursorGone):
        second.next(100, 0.1)


def test_who_was_slow_asks_again_where_the_database_was_set_back(all_of_them: Followers, history: History) -> None:
    slow, quick = (all_of_them.join(ANYBODY, cursor_at(10)) for _ in range(2))
    for follower in (slow, quick):
        follower.next(100, 0.05)
    history.last = 7
    with pytest.raises(CursorGone):
        quick.next(100, 10)
    with all_of_them.join(ANYBODY, None) as another:
        assert numbers(another, 7) == list(range(1, 8))
        another.next(100, 0.05)
        with pytest.raises(CursorGone):
            slow.next(100, 0.1)


def test_an_error_of_one_is_not_another_ones(all_of_them: Followers, history: History) -> None:
    """It may be about the first one's deadline alone."""
    joined = [all_of_them.join(ANYBODY, cursor_at(5)) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        with all_of_them._turn:
            token = deadline.set(time.monotonic() + 0.2)
            first = threads.submit(copy_context().run, joined[0].next, 77)
            deadline.reset(token)
            wait_until(lambda: all_of_them.reads._reads, "the first one wants to read")
            second = threads.submit(joined[1].next, 77)
            with pytest.raises(PoolBusy):
                first.result()
        assert second.result().changes.items == (b"6", b"7", b"8", b"9", b"10")


def test_nothing_is_kept_when_all_have_left(all_of_them: Followers, history: History) -> None:
    history.write(500)
    with all_of_them.join(ANYBODY, cursor_at(10)) as follower:
        follower.next(77)
        assert all_of_them.reads._reads
    assert not all_of_them.reads._reads


def test_a_slow_follower_costs_no_more_than_is_kept(
    all_of_them: Followers, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 40)
    with all_of_them.join(ANYBODY, cursor_at(10)) as slow, all_of_them.join(ANYBODY, cursor_at(10)) as quick:
        slow.next(100, 0.05)
        for number in range(11, 61):
            history.write()
            assert numbers(quick, 1) == [number]
            assert sum(batch.size for batch in all_of_them._feeds[OWNER].batches) <= 40
        assert numbers(slow, 50, limit=30) == list(range(11, 61))


def test_who_comes_back_with_a_cursor_of_ours_costs_no_read(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(ANYBODY, cursor_at(10)) as staying:
        staying.next(100, 0.05)
        cursor = cursor_at(10)
        for number in range(11, 20):
            history.write()
            with all_of_them.join(ANYBODY, cursor) as waiting:
                batch = waiting.next(77, 10)
            assert batch.changes.items == (b"%d" % number,)
            cursor = batch.changes.cursor
    assert not [read for read in history.reads if read[1] == 77]


def test_a_limit_below_what_has_come(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(ANYBODY, cursor_at(10)) as follower:
        follower.next(2, 0.05)
        history.write(5)
        found = [follower.next(2, 10).changes for _ in range(3)]
        assert [len(changes.items) for changes in found] == [2, 2, 1]
        assert [changes.has_more for changes in found] == [True, True, False]


def test_the_end_ends_every_wait(all_of_them: Followers, history: History) -> None:
    def follow() -> int:
        with all_of_them.join(ANYBODY, cursor_at(10)) as follower:
            return len(follower.next(100, 60).changes.items)

    with ThreadPoolExecutor(20) as threads:
        found = [threads.submit(follow) for _ in range(20)]
        before = len(history.reads)
        wait_until(lambda: len(history.reads) > before + 1, "they wait")
        all_of_them.end()
        assert [one.result(5) for one in found] == [0] * 20
    with all_of_them.join(ANYBODY, None) as late:
        assert numbers(late, 10) == list(range(1, 11))
        assert late.next(100, 60).changes.items == ()


def test_nothing_is_missed_while_the_database_is_away(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(ANYBODY, cursor_at(10)) as follower:
        follower.next(100, 0.05)
        history.error = ConnectFailed()
        history.write(3)
        assert follower.next(100, 0.2).changes.items == ()
        history.error = None
        assert numbers(follower, 3) == [11, 12, 13]


def test_a_database_that_was_set_back_tells_each_one(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(ANYBODY, cursor_at(10)) as first, all_of_them.join(ANYBODY, cursor_at(10)) as second:
        for follower in (first, second):
            follower.next(100, 0.05)
        history.error = CursorGone()
        for follower in (first, second):
            with pytest.raises(CursorGone):
                follower.next(100, 10)


def test_a_defect_tells_each_one_and_is_logged(
    all_of_them: Followers, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    with all_of_them.join(ANYBODY, cursor_at(10)) as follower:
        follower.next(100, 0.05)
        history.error = ValueError()
        with pytest.raises(ValueError, match=r"^$"):
            follower.next(100, 10)
        history.error = None
        history.write()
        assert numbers(follower, 1) == [11]
    assert "failed" in caplog.text


def test_there_are_only_so_many(all_of_them: Followers) -> None:
    joined = [all_of_them.join(ANYBODY, None) for _ in range(50)]
    with pytest.raises(TooManyFollowers):
        all_of_them.join(ANYBODY, None)
    for _ in range(2):
        joined[0].close()
    all_of_them.join(ANYBODY, None)
    with pytest.raises(TooManyFollowers):
        all_of_them.join(ANYBODY, None)


ANN, BOB = Caller("ann", "ann"), Caller("bob", "bob")


def test_each_owner_has_their_own(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(ANN, cursor_at(10)) as ann, all_of_them.join(BOB, cursor_at(10)) as bob:
        for follower in (ann, bob):
            follower.next(100, 0.05)
        wait_until(lambda: history.asked, "two owners: who has news is asked first")
        before = len(history.of("bob").reads)
        history.of("ann").write(3)
        assert numbers(ann, 3) == [11, 12, 13]
        assert bob.next(100, 0.1).changes.items == ()
        assert len(history.of("bob").reads) == before
        history.of("bob").write()
        assert numbers(bob, 1) == [11]
    assert not history.reads
    assert {"ann", "bob"} in history.asked


def test_what_is_wrong_with_one_owner_is_not_with_another(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(ANN, cursor_at(10)) as ann, all_of_them.join(BOB, cursor_at(10)) as bob:
        for follower in (ann, bob):
            follower.next(100, 0.05)
        history.of("ann").error = CursorGone()
        for owner in ("ann", "bob"):
            history.of(owner).write()
        assert numbers(bob, 1) == [11]
        with pytest.raises(CursorGone):
            ann.next(100, 10)
        history.of("ann").error = None
        assert numbers(ann, 1) == [11]


def test_who_may_not_ask_for_news_reads_for_each(all_of_them: Followers, history: History) -> None:
    history.refusal = RolledBack()
    with all_of_them.join(ANN, cursor_at(10)) as ann, all_of_them.join(BOB, cursor_at(10)) as bob:
        for follower in (ann, bob):
            follower.next(100, 0.05)
        wait_until(lambda: history.asked, "who has news is asked")
        for owner in ("ann", "bob"):
            history.of(owner).write()
        assert [numbers(follower, 1) for follower in (ann, bob)] == [[11], [11]]


def test_what_was_read_for_those_who_have_left_is_not_for_who_comes(all_of_them: Followers, history: History) -> None:
    """They may have come from another place."""
    with all_of_them.join(ANN, cursor_at(10)) as ann:
        ann.next(100, 0.05)
        history.of("ann").write()
        all_of_them._read_for_all("ann", cursor_at(5))
        feed = all_of_them._feeds["ann"]
        assert all(batch.after != cursor_at(5) for batch in feed.batches)
        assert numbers(ann, 1) == [11]


def test_no_owner_shuts_the_others_out(history: History) -> None:
    made = Followers(history, Settings(max_streams=50, jwt_secret="x" * 32))
    for _ in range(5):
        made.join(ANN, None)
    with pytest.raises(TooManyFollowers):
        made.join(ANN, None)
    made.join(BOB, None).close()
    made.end()


def test_who_follows_does_so_no_longer_than_the_token_lasts(all_of_them: Followers, history: History) -> None:
    with all_of_them.join(Caller("ann", "ann", time.time() + 0.3), cursor_at(10)) as follower:
        assert not follower.is_over
        assert follower.next(100, 60).changes.items == ()
        assert follower.is_over


def test_what_is_kept_is_shared_by_all_owners(
    all_of_them: Followers, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 40)
    with all_of_them.join(ANN, cursor_at(10)) as ann, all_of_them.join(BOB, cursor_at(10)) as bob:
        for follower in (ann, bob):
            follower.next(100, 0.05)
        for number in range(11, 41):
            history.of("ann").write()
            assert numbers(ann, 1) == [number]
            assert sum(batch.size for feed in all_of_them._feeds.values() for batch in feed.batches) <= 40
