"""Conditional requests (RFC 9110, section 13). No answer has an ETag yet, so no tag can match."""

from uuid import UUID

from flask import request
from werkzeug.exceptions import PreconditionFailed

from taskapi.repository import Repository

SENTENCE = "{}: tasks have no version tags, so that this cannot be met; send the request without the header."


def check(repository: Repository, task_id: UUID | None) -> None:
    """Return where the request may go on, which is about the task, or without one about the list of all.

    Raises PreconditionFailed for an `If-Match` other than `*`, and on a write for `If-None-Match: *`; but TaskNotFound
    where there is no such task: conditions only count for what would succeed without them (section 13.2.1).
    """
    environ = request.environ
    if environ.get("HTTP_IF_MATCH", "*") != "*":
        header = "If-Match"
    elif environ.get("HTTP_IF_NONE_MATCH") == "*" and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        header = "If-None-Match"
    else:
        return
    if task_id:
        repository.get_task(task_id=task_id)
    raise PreconditionFailed(SENTENCE.format(header))
