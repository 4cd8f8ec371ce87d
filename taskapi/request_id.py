"""Request ids: each request has one, which its answer, its log line and what it writes to the history carry."""

import random
import re

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""A request id that a client may choose."""


def request_id_of(given: str) -> str:
    """The client's X-Request-Id if it is a good one, else a new id."""
    return given if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
