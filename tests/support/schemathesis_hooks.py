"""What schemathesis cannot know from an OpenAPI document; it loads this by itself (SCHEMATHESIS_HOOKS)."""

from typing import Any
from uuid import uuid4

import schemathesis

from taskapi.schemas.fields import is_idempotency_key


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give each request a key of its own where it has a valid one.

    A key belongs to one request for good: with another one the contract demands 422, which a document cannot say. So
    the document's example, sent with request after request, would be taken for valid data that is refused. What is no
    valid key is sent as it is.
    """
    for name, value in (case.headers or {}).items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and is_idempotency_key(value):
            case.headers[name] = str(uuid4())
