"""Cursors of the changes: what a client has seen of the history, as a text that is opaque to it.

Postgres raises an error for a malformed snapshot. So a cursor that a client sends is checked here, to the last number.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise

LONGEST = 6000
"""How many characters a cursor may have. A snapshot with 500 transactions in progress takes 2,000; two of them are
in one."""

LARGEST = 2**63 - 1
"""The largest number of a transaction that is accepted. Postgres itself would take twice as much."""

WRAP = 2**32
"""No transaction has a multiple of it as its number: on the disk, that would be 0, which is none."""

NUMBER = "[1-9][0-9]{0,18}"
SNAPSHOT = rf"({NUMBER}):({NUMBER}):((?:[0-9]{{1,19}}(?:,{NUMBER})*)?)"
UUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
CURSOR = re.compile(rf"{SNAPSHOT}/({UUID})?(?:/{SNAPSHOT}/({TIME})/({UUID}))?", re.ASCII)
BASE64 = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of Postgres: which transactions were over. Those before `xmin` were, those from `xmax` on were not,
    and those between them were, but for the ones `in_progress`."""

    xmin: int
    xmax: int
    in_progress: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read the text of a pg_snapshot."""
        xmin, xmax, in_progress = text.split(":")
        return cls(int(xmin), int(xmax), tuple(map(int, in_progress.split(","))) if in_progress else ())

    def __str__(self) -> str:
        """The text of a pg_snapshot."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.in_progress))}"

    @property
    def age(self) -> tuple[int, int]:
        """Of two snapshots of one database, the later one has the greater age, and sees all that the other one sees.

        Nothing is in progress anew below a snapshot's xmax: until that moves, transactions only end.
        """
        return self.xmax, -len(self.in_progress)

    def sees(self, transaction: int) -> bool:
        """Whether the transaction was over."""
        return transaction < self.xmin or (transaction < self.xmax and transaction not in self.in_progress)


@dataclass(frozen=True)
class Place:
    """A place within a batch, which is what one snapshot does not see, and a later one does: behind the entry with this
    timestamp and this task."""

    seen: Snapshot
    timestamp: str
    task_id: str


@dataclass(frozen=True)
class Cursor:
    """A position: what the snapshot `upto` sees, with the newest entry of that (None: there is none). With a `place`,
    the batch that ends there only up to this place."""

    upto: Snapshot
    newest: str | None
    place: Place | None = None

    @classmethod
    def of_position(cls, position: str) -> "Cursor":
        """The cursor of a position as the database tells it: `snapshot/history_id`."""
        snapshot, _, newest = position.partition("/")
        return cls(Snapshot.parse(snapshot), newest or None)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read a cursor that a client sends. Raises ValueError for one that str() cannot have made."""
        if not BASE64.fullmatch(text):
            raise ValueError("not base64")
        read = CURSOR.fullmatch(urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"))
        if not read:
            raise ValueError("not a cursor")
        upto, newest = _snapshot(read[1], read[2], read[3]), read[4]
        if not read[8]:
            return cls(upto, newest)
        datetime.fromisoformat(read[8])
        return cls(upto, newest, Place(_snapshot(read[5], read[6], read[7]), read[8], read[9]))

    def __str__(self) -> str:
        """The text that a client gets."""
        text = f"{_short(self.upto)}/{self.newest or ''}"
        if self.place:
            text += f"/{_short(self.place.seen)}/{self.place.timestamp}/{self.place.task_id}"
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_cursor(position: str) -> str:
    """The cursor of a position as position_now() tells it, for clients: the changes after it are what is new."""
    return str(Cursor.of_position(position))


def position_of(text: str) -> str | None:
    """The position that position_cursor() made this text from; None for any other text."""
    try:
        cursor = Cursor.parse(text)
    except ValueError:
        return None
    return None if cursor.place else f"{cursor.upto}/{cursor.newest or ''}"


def _short(snapshot: Snapshot) -> str:
    """A snapshot as cursors have it: a number in progress is the distance from the one before, or else from xmin."""
    numbers = (snapshot.xmin, *snapshot.in_progress)
    distances = ",".join(str(number - before) for before, number in pairwise(numbers))
    return f"{snapshot.xmin}:{snapshot.xmax}:{distances}"


def _snapshot(xmin: str, xmax: str, distances: str) -> Snapshot:
    """The snapshot that _short() has written. Raises ValueError for one that Postgres would refuse."""
    lowest, end = int(xmin), int(xmax)
    numbers = list(accumulate(map(int, distances.split(",")), initial=lowest)) if distances else [lowest]
    if not lowest <= end <= LARGEST or (distances and numbers[-1] >= end) or not (lowest % WRAP and end % WRAP):
        raise ValueError("not a snapshot")
    return Snapshot(lowest, end, tuple(numbers[1:]))
