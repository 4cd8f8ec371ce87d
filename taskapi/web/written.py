"""The answer to a write: what its headers say."""

from uuid import UUID

from flask import Response, request

from taskapi.repository.base import Written
from taskapi.repository.bulk import ManyWritten
from taskapi.web.conditions import tagged
from taskapi.web.envelope import success


def answer_to(written: Written, popup: str, *, status: int = 200, place: str | None = None) -> Response:
    """The answer to a write, with the version of its task. `place`: the path of the task, which the answer shows as it
    is now (RFC 9110, section 8.7); a replayed answer shows it as it was."""
    headers = tagged(written.version) if written.version else {}
    if place and status == 201:
        headers["Location"] = place
    if place and not written.replayed:
        headers["Content-Location"] = place
    return success(written.task, status=status, popup=popup, headers={**headers, **replayed(written.replayed)})


def replayed(is_replayed: bool) -> dict[str, str]:
    """The header that tells of an answer whether an earlier request with its key did the writing."""
    return {"Idempotency-Replayed": "true"} if is_replayed else {}


def answer_to_many(written: ManyWritten, popup: str) -> Response:
    """The answer to a write on many tasks: the tasks, but for those that it has deleted."""
    return success(
        b"null" if popup == "TASK_DELETED" else written.tasks,
        status=201 if popup == "TASK_CREATED" else 200,
        popup=popup,
        headers=replayed(written.replayed),
    )


def place_of(task_id: UUID | str) -> str:
    """The path of a task, from the root of the host on."""
    return f"{request.script_root}/api/v1/tasks/{task_id}"
