"""The headers of requests."""

from marshmallow import fields

from taskapi.schemas.fields import LONGEST_CHANGE_SET, LONGEST_KEY, Strict

TAGS = r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'
"""How the tags of a condition are written. What RFC 9110 allows besides is accepted, too."""


class WriteHeadersSchema(Strict):
    """The headers of every write."""

    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        metadata={
            "description": "Makes a repetition safe: the same request with the same key writes once, and answers the"
            " same again, with `Idempotency-Replayed: true`.",
            "example": "5f0c6a1e-6d0e-4e0c-9e0a-2f6a4d1c7b11",
            "minLength": 1,
            "maxLength": LONGEST_KEY,
            "pattern": "^[ -~]*$",
        },
    )
    change_set = fields.String(
        data_key="Change-Set",
        metadata={
            "description": "What the change is part of, such as the run of an agent. Each history entry keeps it, and"
            " all of it can be undone at once.",
            "minLength": 1,
            "maxLength": LONGEST_CHANGE_SET,
            "pattern": "^[ -~]*$",
        },
    )


class IfMatchSchema(Strict):
    """The condition of a write on one task."""

    if_match = fields.String(
        data_key="If-Match",
        metadata={
            "description": "Write only if the task is at one of these versions, else 412; `*` is any.",
            "pattern": TAGS,
            "example": '"7"',
        },
    )


class IfNoneMatchSchema(Strict):
    """The condition of a read."""

    if_none_match = fields.String(
        data_key="If-None-Match",
        metadata={
            "description": "304 if the answer would have one of these tags; `*` is any.",
            "pattern": TAGS,
            "example": '"7"',
        },
    )
