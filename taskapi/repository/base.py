"""What all methods of the repository share: how a statement is run, and how its outcome is read."""

import hashlib
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self
from uuid import UUID

import orjson

from taskapi.callers import OWNER
from taskapi.errors import (
    AnswerLost,
    Conflict,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ReadOnly,
    RolledBack,
    TaskNotFound,
    VersionMismatch,
)

UNCOUNTED = 100
"""How many entries the totals may lag behind. A read that finds more updates the totals."""

REFUSED_PAUSE, BUSY_PAUSE = 60.0, 1.0
"""Seconds without another try after the database has refused to update the totals, such as on a server that takes no
writes; and after it had no connection or no time for it."""


class Statements(Protocol):
    """The repository's view of a database."""

    def run(
        self, name: str, parameters: dict[str, Any], *, repeatable: bool, once: bool = False, own_plan: bool = False
    ) -> tuple[Any, ...] | None:
        """See taskapi.database.database.Database.run."""


VERSION = re.compile("[1-9][0-9]{0,8}")
"""How a version is written: the same number has no second form."""

MOST_NAMED = 5
"""How many of the tags of an If-Match an error repeats."""


@dataclass(frozen=True)
class Origin:
    """Who makes a change, in which request, and as part of which change set. Each is None if it is not known."""

    actor: str | None = None
    request_id: str | None = None
    change_set: str | None = None


NOBODY = Origin()

EVER, FOREVER = "-infinity", "infinity"
"""The ends of all times. Where a condition is to use an index, row-level security allows no coalesce() in it."""


@dataclass(frozen=True)
class Found:
    """A task as JSON text, and the version that it has."""

    task: bytes
    version: int


@dataclass(frozen=True)
class Written:
    """The answer to a write: the task as JSON text, its version after the change (of a deleted task, that of its
    DELETED entry), and whether this repeats an earlier request's answer."""

    task: bytes
    replayed: bool
    version: int | None = None


class Turns:
    """When the totals may be updated: one update at a time, of whichever owner."""

    again = -math.inf
    """A time.monotonic(): from then on."""


class Base:
    """Runs the statements of a database for one owner."""

    def __init__(self, database: Statements, owner: str = OWNER, turns: Turns | None = None) -> None:
        """`turns`: those that the repositories of all owners share."""
        self._database = database
        self._owner = owner
        self._turns = turns or Turns()

    def of(self, owner: str) -> Self:
        """The same for another owner."""
        return type(self)(self._database, owner, self._turns)

    def _keep_totals(self, uncounted: int) -> None:
        """Update the totals if a read has found many uncounted entries. Sometimes this costs one more round trip.

        The read already has its answer: it does not fail with this, and does not wait for a second try.
        """
        if uncounted > UNCOUNTED and time.monotonic() >= self._turns.again:
            # One at a time: who waits for a lock keeps a connection.
            self._turns.again = math.inf
            pause = 0.0
            try:
                self._read("fold_totals", once=True)
            except DatabaseUnavailable as error:
                is_refused = isinstance(error, (ReadOnly, RolledBack)) and not isinstance(error, Conflict)
                pause = REFUSED_PAUSE if is_refused else BUSY_PAUSE
            finally:
                self._turns.again = time.monotonic() + pause

    def _read(self, name: str, *, once: bool = False, own_plan: bool = False, **parameters: Any) -> tuple[Any, ...]:
        try:
            arguments = {**parameters, "owner": self._owner}
            row = self._database.run(name, arguments, repeatable=True, once=once, own_plan=own_plan)
        except OutcomeUnknown as error:
            raise AnswerLost from error
        if row is None:
            raise TaskNotFound
        return row

    def _write(
        self, name: str, operation: str, asked: dict[str, Any], *, key: str | None, origin: Origin, **parameters: Any
    ) -> tuple[str, tuple[Any, ...]]:
        """Run the statement `name`. The key stands for the `operation` and what was `asked`; `parameters` are those
        that the statement needs besides. Return the outcome, and the rest of the row."""
        arguments = {
            **asked,
            **parameters,
            "owner": self._owner,
            "actor": origin.actor,
            "request_id": origin.request_id,
            "change_set": origin.change_set,
            "idempotency_key": key,
            "request_digest": digest_of(operation, asked) if key is not None else None,
        }
        row = self._database.run(name, arguments, repeatable=key is not None)
        if row is None:
            raise TaskNotFound
        outcome = row[0].decode()
        if outcome == "key_reused":
            raise IdempotencyKeyReused
        return outcome, row[1:]


def json_text(value: object) -> str:
    return orjson.dumps(value).decode()


def array(ids: list[UUID]) -> str:
    """The ids as a Postgres array literal: psycopg2 would make an array of text."""
    return f"{{{','.join(map(str, ids))}}}"


def versions(tags: Sequence[str] | None) -> str | None:
    """The versions among the tags of an If-Match as a Postgres array literal; None for none given."""
    return None if tags is None else f"{{{','.join(filter(VERSION.fullmatch, tags))}}}"


def mismatch(version: int, tags: Sequence[str], changes: bytes | None) -> VersionMismatch:
    """The error for a task at this version, which is none of the tags'. `changes`: what changed since, if known."""
    wanted = " or ".join(tag if VERSION.fullmatch(tag) else f'"{tag}"' for tag in tags[:MOST_NAMED])
    return VersionMismatch(mismatch_text(version, wanted, changes.decode() if changes else None), version)


def mismatch_text(version: int, wanted: object, changes: str | None) -> str:
    """The sentence of that error."""
    return f"The task is at version {version}, not {wanted}{f': {changes}' if changes else ''}."


def digest_of(operation: str, asked: dict[str, Any]) -> bytes:
    """The digest that identifies a request: of the operation, the task in the path, and the values of the body.

    Digests are kept for good, so the operations' names and the fields that are hashed here must never change. Add a
    new field of a body to `asked` only if a client sends it.
    """
    return hashlib.sha256(orjson.dumps([operation, asked], option=orjson.OPT_SORT_KEYS)).digest()
