"""The headers of requests."""

from marshmallow import fields

from taskapi.schemas.fields import LONGEST_KEY, Strict


class IdempotencyKeySchema(Strict):
    """The header that makes a repeated write safe."""

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
