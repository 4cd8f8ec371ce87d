"""Who sends a request, and the owner whose tasks, history and figures it is about."""

import math
from dataclasses import dataclass

OWNER = "default"
"""The owner of all tasks where there is no sign-in, and of what API_TOKENS' callers have otherwise."""

LONGEST = 255

OWNER_RULE = f"1 to {LONGEST} printable characters"


def owner_name(text: object) -> str:
    """The text, if it can be an owner's name. Raises ValueError otherwise."""
    if not isinstance(text, str) or not 1 <= len(text) <= LONGEST or not text.isprintable():
        raise ValueError(OWNER_RULE)
    return text


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the name that the history keeps (None: it has none), whose tasks it is about, and the Unix
    time in seconds when the token expires."""

    name: str | None
    owner: str = OWNER
    expires: float = math.inf


ANYBODY = Caller(None)
"""The caller of a service that asks for no token."""
