"""Runs one statement of sql/ on a pool of connections: the deadline, the retries, the driver's errors."""
