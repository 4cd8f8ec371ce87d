"""What all methods of the repository share: how a statement is run, and how its outcome is read."""

import hashlib
import math
import time
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson

from taskapi.errors import (
    AnswerLost,
    Conflict,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ReadOnly,
    RolledBack,
    TaskNotFound,
)

UNCOUNTED = 100
"""How many entries the totals may lag behind. A read that finds more updates the totals."""

REFUSED_PAUSE, BUSY_PAUSE = 60.0, 1.0
"""Seconds without another try after the database has refused to update the totals, such as on a server that takes no
writes; and after it had no connection or no time for it."""

OWNER = "default"
"""The owner of all tasks, as long as there is only one owner."""


class Statements(Protocol):
    """The repository's view of a database."""

    def run(
        self, name: str, parameters: dict[str, Any], *, repeatable: bool, once: bool = False
    ) -> tuple[Any, ...] | None:
        """See taskapi.database.database.Database.run."""


@dataclass(frozen=True)
class Written:
    """The answer to a write: the task as JSON text, and whether it repeats an earlier request's answer.

    For a write on many tasks, `task` is an array of the tasks that changed, in the order of the request.
    """

    task: bytes
    replayed: bool


class Base:
    """Runs the statements of a database."""

    def __init__(self, database: Statements) -> None:
        self._database = database
        self._fold_again = -math.inf

    def _keep_totals(self, uncounted: int) -> None:
        """Update the totals if a read has found many uncounted entries. Sometimes this costs one more round trip.

        The read already has its answer: it does not fail with this, and does not wait for a second try.
        """
        if uncounted > UNCOUNTED and time.monotonic() >= self._fold_again:
            # One at a time: who waits for a lock keeps a connection.
            self._fold_again = math.inf
            pause = 0.0
            try:
                self._read("fold_totals", once=True)
            except DatabaseUnavailable as error:
                is_refused = isinstance(error, (ReadOnly, RolledBack)) and not isinstance(error, Conflict)
                pause = REFUSED_PAUSE if is_refused else BUSY_PAUSE
            finally:
                self._fold_again = time.monotonic() + pause

    def _read(self, name: str, *, once: bool = False, **parameters: Any) -> tuple[Any, ...]:
        try:
            row = self._database.run(name, {"owner": OWNER, **parameters}, repeatable=True, once=once)
        except OutcomeUnknown as error:
            raise AnswerLost from error
        if row is None:
            raise TaskNotFound
        return row

    def _write(self, name: str, operation: str, asked: dict[str, Any], key: str | None, **parameters: Any) -> Written:
        """Run the statement `name`. The key stands for the `operation` and what was `asked`; `parameters` are those
        that the statement needs besides."""
        digest = digest_of(operation, asked) if key is not None else None
        arguments = {"owner": OWNER, **asked, **parameters, "idempotency_key": key, "request_digest": digest}
        row = self._database.run(name, arguments, repeatable=key is not None)
        if row is None:
            raise TaskNotFound
        outcome, task = row[0].decode(), row[1]
        if outcome == "key_reused":
            raise IdempotencyKeyReused
        if outcome == "missing":
            raise TaskNotFound(f"There is no such task: {', '.join(orjson.loads(task))}.")
        return Written(task, replayed=outcome == "replayed")


def json_text(value: object) -> str:
    return orjson.dumps(value).decode()


def array(ids: list[UUID]) -> str:
    """The ids as a Postgres array literal: psycopg2 would make an array of text."""
    return f"{{{','.join(map(str, ids))}}}"


def digest_of(operation: str, asked: dict[str, Any]) -> bytes:
    """The digest that identifies a request: of the operation, the task in the path, and the values of the body.

    Digests are kept for good, so the operations' names and the fields that are hashed here must never change. Add a
    new field of a body to `asked` only if a client sends it.
    """
    return hashlib.sha256(orjson.dumps([operation, asked], option=orjson.OPT_SORT_KEYS)).digest()
