"""The current request's deadline, and the time it has spent on the database. Any layer may read them."""

import math
from contextvars import ContextVar

deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When the current request must be answered, as a time.monotonic(). The code that receives a request sets it
once; every wait in taskapi/database/ reads it."""

seconds_spent: ContextVar[float] = ContextVar("seconds_spent", default=0.0)
"""Seconds that the current request has spent on the database, including the wait for a connection."""
