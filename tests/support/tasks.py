"""Tasks in the tests: what the repository answers is read, and an id that no task has."""

from typing import Any
from uuid import UUID

import orjson

from taskapi.repository import Written
from taskapi.web import examples

NOBODY = examples.TASK_ID
"""The id of no task: that of the documentation."""


def task_of(answer: Written | bytes) -> dict[str, Any]:
    """The task of an answer."""
    task: dict[str, Any] = orjson.loads(answer.task if isinstance(answer, Written) else answer)
    return task


def id_of(answer: Written | bytes) -> UUID:
    """The id of the task of an answer."""
    return UUID(task_of(answer)["id"])
