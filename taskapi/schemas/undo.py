"""Undo and restore: which changes a request takes back, and what an answer says of it."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from taskapi.schemas.answers import Answer, Success, moment, popup_of
from taskapi.schemas.fields import (
    LONGEST_ACTOR,
    LONGEST_CHANGE_SET,
    LONGEST_REQUEST_ID,
    Code,
    Flag,
    Identifier,
    Moment,
    OptionalBody,
    Text,
    VersionNumber,
)
from taskapi.schemas.tasks import TaskSchema

OPTIONS = frozenset({"dry_run", "skip_conflicts"})

WAYS = ({"task_id", "version"}, {"request_id"}, {"change_set"}, {"actor", "since"})
"""The ways to choose changes: which fields each has. `until` may stand beside `since`."""

ONE_WAY = "must have exactly one of task_id with version, request_id, change_set, and actor with since (and until)"


class UndoChangeSchema(OptionalBody):
    """Which change of the task to take back."""

    version = VersionNumber(required=True, metadata={"description": "The version that the change made."})


class RestoreSchema(OptionalBody):
    """Which version of the task to bring back."""

    version = VersionNumber(metadata={"description": "Absent: a deleted task as it was at the end."})


class UndoSchema(OptionalBody):
    """Which changes to take back: one version of a task, or all of a request, of a change set, or of an actor."""

    task_id = Identifier(metadata={"description": "With `version`: the task of one change."})
    version = VersionNumber(metadata={"description": "With `task_id`: the version that the change made."})
    request_id = Text(
        longest=LONGEST_REQUEST_ID, metadata={"description": "The `X-Request-Id` of the request that wrote."}
    )
    change_set = Text(longest=LONGEST_CHANGE_SET, metadata={"description": "The `Change-Set` of what was written."})
    actor = Text(
        longest=LONGEST_ACTOR,
        allow_none=True,
        metadata={"description": "With `since`: who wrote. null: entries without an actor."},
    )
    since = Moment(metadata={"description": "With `actor`: from this time on."})
    until = Moment(metadata={"description": "With `since`: before this time. Absent: now."})
    dry_run = Flag(metadata={"description": "Answer what the undo would do, and write nothing."})
    skip_conflicts = Flag(metadata={"description": "Leave what others have changed since, and undo the rest."})

    @validates_schema(skip_on_field_errors=True)
    def _one_way(self, body: dict[str, Any], **_: Any) -> None:
        chosen = body.keys() - OPTIONS
        if (chosen - {"until"} if "since" in chosen else chosen) not in WAYS:
            raise ValidationError(ONE_WAY)


class UndoneChangeSchema(Answer):
    """A task that an undo has changed, or in a dry run would change."""

    task_id = fields.UUID(required=True)
    version = fields.Integer(required=True, metadata={"description": "The task's version after the undo."})
    description = fields.String(required=True, metadata={"description": "As in the history, for people."})
    task = fields.Nested(TaskSchema, required=True, allow_none=True)


class UndoConflictSchema(Answer):
    """What an undo has left as it is: others have changed it since, today's rules refuse the value, or it is erased."""

    task_id = fields.UUID(required=True)
    field = fields.String(
        required=True,
        metadata={"description": "`title`, `description` or `is_completed`; `task`: the whole of it."},
    )
    version = fields.Integer(required=True, metadata={"description": "The version that the later change made."})
    actor = fields.String(required=True, allow_none=True, metadata={"description": "Who made it; null: unknown."})
    timestamp = moment("When it was made.")


class UndoneSchema(Answer):
    """What an undo has done, and what it has left."""

    changes = fields.List(fields.Nested(UndoneChangeSchema), required=True)
    conflicts = fields.List(fields.Nested(UndoConflictSchema), required=True)


class UndoneTaskAnswerSchema(Success):
    """The task after the undo; null if the undo has deleted it."""

    data = fields.Nested(TaskSchema, required=True, allow_none=True)
    popup = popup_of("TASK_RESTORED")


class TaskRestoredAnswerSchema(Success):
    """The restored task."""

    data = fields.Nested(TaskSchema, required=True)
    popup = popup_of("TASK_RESTORED")


class UndoneAnswerSchema(Success):
    """What has been undone. `popup` is null in a dry run."""

    data = fields.Nested(UndoneSchema, required=True)
    popup = Code("Popup", only="TASK_RESTORED", required=True, allow_none=True)
