"""How long the current request may still take, and how long it has waited for the database: any layer may ask."""

import math
from contextvars import ContextVar

deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When the current request must be answered, as a time.monotonic(). Whoever takes requests in sets it once for each;
every wait in taskapi/database/ reads it."""

seconds_spent: ContextVar[float] = ContextVar("seconds_spent", default=0.0)
"""Seconds that the current request has spent on the database, waiting for a connection included."""
