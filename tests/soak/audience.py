"""Followers of the changes that come, stay for a while and go, and what each of them has to have got."""

import random
import re
import selectors
import socket
import threading
import time
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime

from taskapi.cursors import Cursor
from tests.support.closing import Closing
from tests.support.sql import Sql
from tests.support.waiting import wait_until

REQUEST = b"GET /api/v1/changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: %s\r\n\r\n"
EVENT = re.compile(rb'(?:^id: (\S+)\n)?^data: \{"history_id":"([0-9a-f-]{36})"', re.MULTILINE)

TIME = re.compile(rb'"timestamp":"([^"]+)"')

PAUSE = 1.0
"""Seconds after which a slow one reads again, and any other one comes back when its stream has ended."""

SLOW = 0.1
"""The share of those who read slowly."""

SLOWLY = 32 * 1024
"""Bytes that a slow one reads at a time: less than comes."""

LATE = 30.0
"""Seconds after which every change has come to those who do not read slowly."""

ENTRIES = """
SELECT transaction_id::text::bigint, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       task_id::text, history_id::text, extract(epoch FROM timestamp)::float8
FROM task_history ORDER BY transaction_id
"""


@dataclass(eq=False)
class Stay:
    """One follower, from when it came until it went."""

    start: str
    is_slow: bool
    leaves: float
    cursor: str = ""
    left: float = 0.0
    """When it went, by the clock."""
    connection: socket.socket | None = field(default=None, repr=False)
    wakes: float = 0.0
    has_begun: bool = False
    has_come: bool = False
    """Its stream has begun, this one or an earlier one."""
    text: bytes = field(default=b"", repr=False)
    pending: list[int] = field(default_factory=list, repr=False)
    """What has come since the last cursor: comes again if the stream ends before the next one."""
    seen: "array[int]" = field(default_factory=lambda: array("L"), repr=False)

    def __post_init__(self) -> None:
        self.cursor = self.start


class Audience(Closing):
    """So many followers at once. Each stays for a random time, and another one comes in its place."""

    def __init__(self, port: int, cursor: str, at_once: int, seconds: float) -> None:
        """`seconds`: the mean of the stays."""
        self.stays: list[Stay] = []
        self.most = 0
        """How many were there at once."""
        self.refused = self.gone = self.ended = self.again = 0
        """Answers 503 and 410, streams that the service ended, and changes that came again since the stream had ended
        before their cursor."""
        self.went = 0
        """Those whose stream had begun, and who did not stay to the end."""
        self.behind = 0.0
        """By how many seconds a change was late for one who does not read slowly, at most."""
        self.error: BaseException | None = None
        self._present: list[Stay] = []
        self._port = port
        self._newest = cursor
        self._at_once = at_once
        self._seconds = seconds
        self._numbers: dict[bytes, int] = {}
        self._selector = selectors.DefaultSelector()
        self._closing = threading.Event()
        self._staying = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        for stay in self._present:
            self._leave(stay)
        self._present = []
        self._selector.close()
        if self.error:
            raise self.error

    def wait_for_all(self, sql: Sql) -> None:
        """Return when those who are there have seen the newest entries; nobody comes or goes from now on."""
        self._staying = True
        newest = sql.rows(f"SELECT * FROM ({ENTRIES}) AS entries ORDER BY 1 DESC LIMIT 100")

        def have_all() -> bool:
            cursors = [Cursor.parse(cursor) for cursor in {stay.cursor for stay in list(self._present)}]
            return all(_sees(cursor, *entry[:3]) for cursor in cursors for entry in newest)

        wait_until(lambda: self.error or have_all(), "all followers are at the end", seconds=LATE)

    def check(self, sql: Sql) -> float:
        """Each has got once all that its last cursor sees and its first one does not, and nothing else.

        Return by how many seconds one who does not read slowly was behind, at most: when a change came, or when it went
        without one.
        """
        behind = self.behind
        entries = sql.rows(ENTRIES)
        transactions = [entry[0] for entry in entries]
        for stay in self.stays:
            start, end = Cursor.parse(stay.start), Cursor.parse(stay.cursor)
            first = bisect_left(transactions, (start.place.seen if start.place else start.upto).xmin)
            expected = set()
            for *place, history_id, seconds in entries[first:]:
                if _sees(start, *place):
                    continue
                if _sees(end, *place):
                    expected.add(self._numbers.get(history_id.encode()))
                elif not stay.is_slow:
                    behind = max(behind, stay.left - seconds)
            assert len(set(stay.seen)) == len(stay.seen), f"the same twice, after {stay.start}"
            assert set(stay.seen) == expected, f"{len(stay.seen)} of {len(expected)} after {stay.start}"
        return behind

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._come_and_go()
                self._read()
        except BaseException as error:  # noqa: BLE001  (close() raises it again)
            self.error = error

    def _come_and_go(self) -> None:
        now = time.monotonic()
        for stay in list(self._present) if not self._staying else []:
            if now > stay.leaves:
                self._present.remove(stay)
                self._leave(stay)
                self.went += stay.has_come
        # A few at a time: they come one after the other.
        for _ in range(min(4, self._at_once - len(self._present)) if not self._staying else 0):
            leaves = now + random.expovariate(1 / self._seconds)
            self._present.append(Stay(self._newest, random.random() < SLOW, leaves))
        self.most = max(self.most, sum(stay.has_begun for stay in self._present))
        for stay in self._present:
            if now < stay.wakes:
                continue
            if stay.connection is None:
                self._connect(stay)
            elif stay.is_slow and stay.connection not in self._selector.get_map():
                self._selector.register(stay.connection, selectors.EVENT_READ, stay)

    def _connect(self, stay: Stay) -> None:
        self.again += len(stay.pending)
        stay.text, stay.pending = b"", []
        try:
            stay.connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            stay.connection.sendall(REQUEST % stay.cursor.encode())
        except OSError:
            self._drop(stay)
            return
        self._selector.register(stay.connection, selectors.EVENT_READ, stay)

    def _read(self) -> None:
        for key, _ in self._selector.select(0.05):
            stay: Stay = key.data
            assert stay.connection is not None
            try:
                data = stay.connection.recv(SLOWLY if stay.is_slow and not self._staying else 65536)
            except OSError:
                data = b""
            if not data:
                self.ended += 1
                self._drop(stay)
                continue
            stay.text += data
            if not stay.has_begun and not self._begin(stay):
                continue
            self._take(stay)
            if stay.is_slow and not self._staying:
                self._selector.unregister(stay.connection)
                stay.wakes = time.monotonic() + PAUSE

    def _begin(self, stay: Stay) -> bool:
        """Read the head, and say whether a stream follows."""
        if b"\r\n\r\n" not in stay.text:
            return False
        status = stay.text[9:12]
        if status == b"200":
            stay.has_begun = stay.has_come = True
            return True
        self._drop(stay)
        if status == b"410":
            # It would have to read the list anew: for another one.
            self.gone += 1
            stay.leaves = 0.0
        else:
            assert status == b"503", stay.text
            self.refused += 1
        return False

    def _take(self, stay: Stay) -> None:
        """Note the events that are whole."""
        end = stay.text.rfind(b"\n\n")
        if end < 0:
            return
        if not stay.is_slow and (oldest := TIME.search(stay.text)):
            came = datetime.fromisoformat(oldest[1].decode()).timestamp()
            self.behind = max(self.behind, time.time() - came)
        for cursor, history_id in EVENT.findall(stay.text[: end + 2]):
            stay.pending.append(self._numbers.setdefault(history_id, len(self._numbers)))
            if cursor:
                stay.seen.extend(stay.pending)
                stay.pending = []
                stay.cursor = cursor.decode()
                if not stay.is_slow:
                    self._newest = stay.cursor
        stay.text = stay.text[end + 2 :]

    def _drop(self, stay: Stay) -> None:
        """The connection is over; the next one begins after a pause."""
        stay.has_begun = False
        if stay.connection is not None:
            if stay.connection in self._selector.get_map():
                self._selector.unregister(stay.connection)
            stay.connection.close()
            stay.connection = None
        stay.wakes = time.monotonic() + PAUSE

    def _leave(self, stay: Stay) -> None:
        self._drop(stay)
        stay.left = time.time()
        stay.text = b""
        self.stays.append(stay)


def _sees(cursor: Cursor, transaction: int, timestamp: str, task_id: str) -> bool:
    """Whether the cursor is behind this entry."""
    if cursor.place is None:
        return cursor.upto.sees(transaction)
    if cursor.place.seen.sees(transaction):
        return True
    return cursor.upto.sees(transaction) and (timestamp, task_id) <= (cursor.place.timestamp, cursor.place.task_id)
